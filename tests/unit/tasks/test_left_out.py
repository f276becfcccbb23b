"""What is left out of a folder is counted by reason; a class that ends up empty is refused; splits aren't guessed."""

import os

import numpy as np
import pytest
from PIL import Image

import reprogram
from reprogram.evaluation import datacheck
from reprogram.tasks._factory import task_source

SPLITS = ("train", "validation", "test")


def write(folder, *names, size=(6, 5), value=7):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        path = folder / name
        image = Image.new("L", size, (value + i) % 256)
        image.save(
            path, format="PPM" if path.suffix == ".pnm" else {".jfif": "JPEG", ".jpe": "JPEG"}.get(path.suffix, "PNG")
        )


def numbered(count, ending=".png"):
    return [f"{i}{ending}" for i in range(count)]


def load(root, options="", **kwargs):
    return reprogram.load_task(f"folder:{root}{options}", **kwargs)


def num_images(task):
    return sum(len(getattr(task, split)) for split in SPLITS)


def test_all_endings_of_the_formats_that_are_read(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, *numbered(8), "x.jfif", "y.jpe", "z.pnm", "w.apng", "v.PNG")
    task = load(tmp_path)
    assert num_images(task) == 26 and task.left_out == {}
    assert not any("left out" in line for line in datacheck.check(task).warnings())


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, *numbered(8))
    for name in ("1.heic", "2.HEIC", "3.avif", "noending", ".hidden.png", "Thumbs.db"):
        (tmp_path / "a" / name).write_bytes(b"x")
    write(tmp_path / "elsewhere", *numbered(3))
    (tmp_path / "b" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "b" / "link.png").symlink_to(tmp_path / "a" / "0.png")
    (tmp_path / "elsewhere").rename(tmp_path / "__elsewhere")
    (tmp_path / "b" / "link").unlink()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "__elsewhere")
    write(tmp_path, "stray.png")
    task = load(tmp_path)
    assert task.class_names == ("a", "b") and num_images(task) == 17
    expected = {
        "files ending in .heic": 2,
        "files ending in .avif": 1,
        "files without an ending": 1,
        "hidden files and folders": 1,
        "links to folders": 1,
        "folders whose names begin with . or __": 1,
        "images outside of class folders": 1,
    }
    found = datacheck.check(task)
    assert task.left_out == expected == found.to_json()["left_out"]
    (line,) = [line for line in found.warnings() if "left out" in line]
    assert all(f"{count} {reason}" in line for reason, count in expected.items())


@pytest.mark.parametrize("split", ["", "train"])
def test_a_class_that_ends_up_empty_is_refused(tmp_path, split, one_line):
    for part in ("train", "test") if split else ("",):
        for name in ("a", "b", "c"):
            write(tmp_path / part / name, *numbered(8))
    folder = tmp_path / split / "c"
    for path in folder.iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, str(folder), "8 files ending in .heic")
    for path in folder.iterdir():
        path.rename(path.with_suffix(".png")).write_bytes(b"damaged")
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path, skip_bad=True)
    one_line(error, "no image of this class")


def test_an_empty_folder_and_one_of_links_are_no_classes(tmp_path, one_line):
    for name in ("a", "b"):
        write(tmp_path / name, *numbered(8))
    (tmp_path / "c").mkdir()
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "'c'")
    (tmp_path / "c" / "link").symlink_to(tmp_path / "a")
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "1 links to folders")


def test_links_to_nowhere_are_files_that_cant_be_read(tmp_path, one_line):
    for name in ("a", "b"):
        write(tmp_path / name, *numbered(8))
    for i in range(8, 12):
        (tmp_path / "b" / f"{i}.png").symlink_to("/nowhere/x.png")
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "4 of 20", "link to nowhere", "--skip-bad")
    task = load(tmp_path, skip_bad=True)
    assert num_images(task) == 16 and len(task.skipped) == 4


def test_folders_beside_those_of_the_splits_are_counted(tmp_path):
    for part in ("train", "test", "val", "validation", "extra"):
        for name in ("a", "b"):
            write(tmp_path / part / name, *numbered(4))
    assert load(tmp_path).left_out == {"folders beside those of the splits": 2}


@pytest.mark.parametrize("name", ["train", "test", "valid", "validation", "Testing"])
def test_a_class_that_is_called_like_a_split(tmp_path, name):
    for class_name in ("bus", "car", name):
        write(tmp_path / class_name, *numbered(10))
    task = load(tmp_path)
    assert task.class_names == tuple(sorted(("bus", "car", name))) and num_images(task) == 30
    assert any(name in line for line in datacheck.check(task).warnings())
    assert load(tmp_path, "?layout=classes").notes == ()


def test_layouts_that_the_names_cant_tell(tmp_path, one_line):
    for name in ("train", "test"):
        write(tmp_path / name, *numbered(10))
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "holds images itself", "layout=classes")
    assert load(tmp_path, "?layout=classes").class_names == ("test", "train")
    write(tmp_path / "train" / "a", *numbered(2))
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "test: holds images itself")
    with pytest.raises(reprogram.ConfigError) as error:
        load(tmp_path, "?layout=x")
    one_line(error, "layout")


def test_a_class_of_subfolders_that_is_called_test(tmp_path, one_line):
    for name in ("bus", "car", "test/session"):
        write(tmp_path / name, *numbered(10))
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "layout=classes")
    assert load(tmp_path, "?layout=classes").class_names == ("bus", "car", "test")


@pytest.fixture
def mixed(tmp_path):
    for i, name in enumerate(("a", "b")):
        write(tmp_path / "mixed" / name, *numbered(8), size=(12, 9), value=100 * i)
        write(tmp_path / "mixed" / name, "odd.png", size=(30, 40), value=100 * i)
    return tmp_path / "mixed"


@pytest.mark.parametrize(
    "canvas,side",
    [
        ("scaled", lambda full: full // 2),
        ("scaled(share=0.25)", lambda full: full // 4),
        ("resize", lambda full: full),
        ("centre", lambda full: full // 2),
        ("centre(size=10)", lambda full: 10),
        ("tile", lambda full: full // 2),
    ],
)
def test_the_canvas_says_the_size_of_images_of_several(mixed, canvas, side):
    host = reprogram.load_host("linear")
    model = reprogram.Reprogrammed.build(host, f"folder:{mixed}", canvas=canvas, program="full", label_map="first")
    assert model.task.shape[1:] == (side(host.info.size[0]),) * 2


def test_the_size_is_said(mixed):
    task = load(mixed, size_of_unequal=lambda: (4, 6))
    assert task.image_shape == (1, 4, 6)
    assert any("6x4" in line and "12x9" in line and "30x40" in line for line in datacheck.check(task).warnings())
    assert load(mixed).image_shape == (1, 112, 112)
    assert load(mixed, "?size=5", size_of_unequal=lambda: (4, 6)).image_shape == (1, 5, 5)
    assert np.unique(task.train.images).max() < 256


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options,shape", [("", (7, 9)), ("?size=5", (5, 5)), ("?mode=grey", (7, 9))])
def test_images_are_brought_to_the_shape_that_a_program_has(tmp_path, channels, options, shape):
    for i, name in enumerate(("a", "b")):
        write(tmp_path / name, *numbered(8), size=(12, 9), value=100 * i)
    task = load(tmp_path, options, image_shape=(channels, 7, 9))
    assert task.image_shape == (1 if options == "?mode=grey" else channels, *shape)


def test_the_papers_measurements_take_the_size_from_the_canvas(mixed):
    from reprogram.paper.loading import task_of
    from reprogram.runs.config import RunConfig

    (mixed / "a" / "bad.png").write_bytes(b"x")
    options = {"task": f"folder:{mixed}", "host": "linear", "skip_bad": True, "out": "unused"}
    side = reprogram.load_host("linear").info.size[0]
    for canvas, expected in (("resize", side), ("centre(size=10)", 10)):
        task = task_of(RunConfig(canvas=canvas, **options))
        assert task.image_shape[1:] == (expected, expected) and len(task.skipped) == 1


def test_clutter_in_any_case_is_no_image(tmp_path):
    for i, name in enumerate(("a", "b")):
        write(tmp_path / name, *numbered(8), value=i)
        write(tmp_path / name / "@eaDir" / "0.png", "SYNOPHOTO_THUMB_M.png")  # Synology's thumbnails
        for clutter in ("THUMBS.DB", "ehthumbs.db", "Desktop.ini", "Icon\r"):
            (tmp_path / name / clutter).touch()
    write(tmp_path / "$RECYCLE.BIN", "x.png")
    task = load(tmp_path)
    assert task.class_names == ("a", "b") and num_images(task) == 16 and task.left_out == {}


def test_links_in_a_circle_lead_nowhere(tmp_path, one_line):
    for i, name in enumerate(("a", "b")):
        write(tmp_path / name, *numbered(8), value=i)
    (tmp_path / "a" / "round").symlink_to("round")
    (tmp_path / "a" / "above").symlink_to(tmp_path)
    task = load(tmp_path)
    assert num_images(task) == 16
    assert task.left_out == {"files without an ending": 1, "links to folders": 1}
    (tmp_path / "a" / "round.png").symlink_to("round.png")
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "round.png", "link to nowhere")


def test_classes_that_look_alike(tmp_path, one_line):
    for i, name in enumerate(("cat", "Cat", "dog")):
        write(tmp_path / name, *numbered(8), value=i)
    assert any("'Cat' and 'cat'" in line for line in datacheck.check(load(tmp_path)).warnings())
    for name in ("caf\u00e9", "cafe\u0301"):
        write(tmp_path / name, *numbered(8))
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "caf", "two forms of Unicode")


def test_what_is_left_out_explains_a_lack_of_classes(tmp_path, one_line):
    write(tmp_path / "a", *numbered(8))
    write(tmp_path / "..b", *numbered(8))
    write(tmp_path, "x.png")
    (tmp_path / "y.heic").touch()
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "1 class folder(s)", "2 images outside of class folders", "1 folders whose names begin")


def test_a_path_too_long_to_be_listed(tmp_path, one_line):
    name = "d" * 200
    write(tmp_path / "a", *numbered(8))
    write(tmp_path / "b", *numbered(8))
    handle = os.open(tmp_path / "a", os.O_RDONLY)
    for _ in range(25):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    with pytest.raises(reprogram.DataError) as error:
        load(tmp_path)
    one_line(error, "too long")
    assert len(str(error.value)) < 500 and "permissions" not in str(error.value)


def test_a_missing_folder_is_noticed_before_anything_is_loaded(tmp_path, monkeypatch, one_line):
    from reprogram.runs import execute
    from reprogram.runs.config import RunConfig

    with pytest.raises(reprogram.DataError) as error:
        task_source(f"folder:{tmp_path}/none").check()
    one_line(error, f"{tmp_path}/none")
    monkeypatch.setattr(execute.Loader, "host", lambda *_: pytest.fail("the host is loaded"))
    with pytest.raises(reprogram.DataError) as error:
        execute.execute(RunConfig(task=f"folder:{tmp_path}/none", out=str(tmp_path / "run")))
    one_line(error, "none")
    assert not (tmp_path / "run").exists()


def test_predict_counts_what_it_leaves_out_of_a_folder(tmp_path, capsys):
    from reprogram.cli.predict import _Images

    write(tmp_path / "a", *numbered(3))
    for i in range(20):
        (tmp_path / "a" / f"x.{i}").touch()
    (tmp_path / "a" / "y.heic").touch()
    images = _Images((str(tmp_path),), None)
    assert images.count() == len(list(images.paths())) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("reprogram: left out: 1 files ending in .0") and "others" in err
