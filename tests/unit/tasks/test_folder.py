"""Folders of images: how they are split, what is ignored, what is refused."""

import numpy as np
import pytest
from PIL import Image

import reprogram

SPLITS = ("train", "validation", "test")


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def grey(value, size=(6, 5)):
    return Image.new("L", size, value)


def folder(tmp_path, layout):
    """Files of grey images: {'train/cat': 8} makes train/cat/0.png and so on, each of its own value."""
    value = 0
    for name, count in layout.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            write(tmp_path / name / f"{i}.png", grey(value))
            value += 1
    return reprogram.load_task(f"folder:{tmp_path}")


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
@pytest.mark.parametrize("train,test", [("train", "test"), ("training", "testing")])
def test_folder_split_already(tmp_path, train, validation, test):
    sizes = {
        f"{train}/b": 3,
        f"{train}/a": 4,
        f"{validation}/a": 2,
        f"{test}/b": 2,
        f"{test}/a": 1,
        f"{validation}/b": 1,
    }
    task = folder(tmp_path, sizes)
    assert task.class_names == ("a", "b") and task.image_shape == (1, 5, 6)
    assert task.train.labels.tolist() == [0] * 4 + [1] * 3
    assert task.validation.labels.tolist() == [0, 0, 1] and task.test.labels.tolist() == [0, 1, 1]
    assert task.train.images[:, 0, 0, 0].tolist() == [3, 4, 5, 6, 0, 1, 2]


def test_folder_without_validation_splits_off_an_eighth(tmp_path):
    task = folder(tmp_path, {"train/a": 16, "train/b": 8, "test/a": 3, "test/b": 3})
    assert np.bincount(task.train.labels).tolist() == [14, 7]
    assert np.bincount(task.validation.labels).tolist() == [2, 1]
    assert len(task.test) == 6


def test_folder_of_classes_is_split_70_10_20(tmp_path):
    task = folder(tmp_path, {"a": 100, "b": 50, "c": 20})
    assert [np.bincount(getattr(task, name).labels).tolist() for name in SPLITS] == [
        [70, 35, 14],
        [10, 5, 2],
        [20, 10, 4],
    ]
    seen = [set(getattr(task, name).images[:, 0, 0, 0].tolist()) for name in SPLITS]
    assert set.union(*seen) == set(range(170)) and sum(map(len, seen)) == 170
    again = reprogram.load_task(f"folder:{tmp_path}")
    other = reprogram.load_task(f"folder:{tmp_path}?seed=1")
    assert again.fingerprint == task.fingerprint != other.fingerprint


@pytest.mark.parametrize("train,test", [("train", "test"), ("Training", "testing/deep")])
def test_classes_that_are_split_themselves_are_refused(tmp_path, train, test, one_line):
    layout = {f"{name}/{part}": 10 for name in ("a", "b") for part in (train, test)}
    with pytest.raises(reprogram.DataError) as error:
        folder(tmp_path, layout)
    one_line(error, "train/CLASS", "test/CLASS", "layout=classes")
    task = reprogram.load_task(f"folder:{tmp_path}?layout=classes")
    assert sum(len(getattr(task, name)) for name in SPLITS) == 40


def test_classes_may_have_folders_of_other_names(tmp_path):
    task = folder(tmp_path, {"a/train": 10, "a/tram": 10, "b/test": 10, "b/tests": 10})
    assert sum(len(getattr(task, name)) for name in SPLITS) == 40


def test_folder_with_a_class_missing_from_one_split(tmp_path):
    """Classes are those of all splits together, so labels don't shift."""
    task = folder(tmp_path, {"train/a": 4, "train/c": 4, "test/a": 2, "test/b": 2, "test/c": 2, "val/c": 1})
    assert task.class_names == ("a", "b", "c")
    assert set(task.train.labels.tolist()) == {0, 2} and task.validation.labels.tolist() == [2]
    assert task.test.labels.tolist() == [0, 0, 1, 1, 2, 2]


LAYOUTS = {
    "one class": {"a": 8},
    "one class in train": {"train/a": 4, "test/a": 2, "test/b": 2},
    "no class": {},
    "empty classes": {"a": 0, "b": 0},
    "empty test": {"train/a": 4, "train/b": 4, "test/a": 0},
    "empty validation": {"train/a": 4, "train/b": 4, "test/a": 1, "val/a": 0},
    "no test folder": {"train/a": 4, "train/b": 4},
    "one image a class": {"a": 1, "b": 1},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_folders_that_are_no_task_are_refused(tmp_path, name, one_line):
    with pytest.raises(reprogram.DataError) as error:
        folder(tmp_path, LAYOUTS[name])
    one_line(error)


def test_folder_ignores_what_is_no_image_and_what_is_hidden(tmp_path):
    for name in ("a", "b"):
        for i in range(10):
            write(tmp_path / name / f"{i}.png", grey(i))
        (tmp_path / name / "Thumbs.db").write_bytes(b"x")
        (tmp_path / name / "._0.png").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    task = reprogram.load_task(f"folder:{tmp_path}")
    assert task.class_names == ("a", "b") and sum(len(getattr(task, n)) for n in SPLITS) == 20


def test_folder_of_unequal_sizes(tmp_path):
    for name in ("a", "b"):
        for i in range(8):
            write(tmp_path / name / f"{i}.png", grey(100, (6, 5)))
    write(tmp_path / "b" / "odd.png", grey(100, (7, 5)))
    task = reprogram.load_task(f"folder:{tmp_path}")  # No canvas says the size.
    assert task.image_shape == (1, 112, 112)
    assert all(words in task.notes[0] for words in ("7x5", "6x5", "112x112", "size=N"))
    task = reprogram.load_task(f"folder:{tmp_path}?size=4")
    assert task.image_shape == (1, 4, 4) and (task.train.images == 100).all()


def test_folder_with_a_corrupt_image_names_it(tmp_path, one_line):
    for name in ("a", "b"):
        for i in range(8):
            write(tmp_path / name / f"{i}.png", grey(i))
    path = tmp_path / "b" / "3.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"folder:{tmp_path}")
    one_line(error, str(path))


@pytest.mark.parametrize("mode,channels", [("auto", 3), ("grey", 1), ("rgb", 3)])
def test_folder_modes(tmp_path, mode, channels):
    for name in ("a", "b"):
        for i in range(8):
            write(tmp_path / name / f"{i}.png", Image.new("RGB", (4, 4), (200, 100, 50)))
        write(tmp_path / name / "grey.png", grey(77, (4, 4)))
    task = reprogram.load_task(f"folder:{tmp_path}?mode={mode}")
    assert task.image_shape == (channels, 4, 4)
    values = {tuple(image[:, 0, 0].tolist()) for image in task.train.images}
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert values <= ({(luma,), (77,)} if channels == 1 else {(200, 100, 50), (77, 77, 77)})
    all_grey = {p for p in tmp_path.rglob("*.png") if p.name != "grey.png"}
    for path in all_grey:
        write(path, grey(5, (4, 4)))
    again = reprogram.load_task(f"folder:{tmp_path}?mode={mode}")
    assert again.image_shape[0] == (3 if mode == "rgb" else 1)
