"""Data that can't be trusted: bad files, odd labels and classes, archives that swell."""

import gzip
import itertools
import struct
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import reprogram
from helpers import random_task
from reprogram.evaluation import datacheck
from reprogram.tasks import _folders, _npz, mnist
from reprogram.utils import image_files

SPLITS = ("train", "validation", "test")


def grey_folder(root, count, classes=("a", "b")):
    """`count` small images a class, each of its own colour; their paths."""
    paths = []
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            value = label * count + i
            paths.append(root / name / f"{i:05}.ppm")
            paths[-1].write_bytes(b"P6 1 1 255\n" + bytes([value >> 16, value >> 8 & 255, value & 255]))
    return paths


def corrupt(paths):
    for path in paths:
        path.write_bytes(path.read_bytes()[:-2])


def sizes(task):
    return sum(len(getattr(task, split)) for split in SPLITS)


def test_one_corrupt_file_in_a_hundred_of_ten_thousand(tmp_path, one_line):
    paths = grey_folder(tmp_path, 5000)
    bad = paths[17::100]
    corrupt(bad)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"folder:{tmp_path}")
    message = one_line(error, "100 of 10,000", str(bad[0]), "97 more", "--skip-bad")
    assert len(message) < 1000 + 4 * len(str(bad[0]))
    assert [detail.partition(":")[0] for detail in error.value.details] == [str(path) for path in bad]

    task = reprogram.load_task(f"folder:{tmp_path}", skip_bad=True)
    assert sizes(task) == 9900
    assert [line.partition(":")[0] for line in task.skipped] == [str(path.relative_to(tmp_path)) for path in bad]
    colours = [getattr(task, split).images[:, :, 0, 0].long() for split in SPLITS]
    values = [(c[:, 0] << 16 | c[:, 1] << 8 | c[:, 2]).tolist() for c in colours]
    assert sorted(itertools.chain(*values)) == sorted(set(range(10_000)) - set(range(17, 10_000, 100)))
    for split, shown in zip(SPLITS, values, strict=True):
        assert getattr(task, split).labels.tolist() == [int(value >= 5000) for value in shown]

    found = datacheck.check(task)
    assert found.to_json()["skipped"] == {"count": 100, "files": list(task.skipped)}
    assert "100 files" in found.warnings()[0]
    same = reprogram.load_task(f"folder:{tmp_path}?skip_bad=True")
    assert same.fingerprint == task.fingerprint


def test_a_folder_of_corrupt_files_alone_is_refused(tmp_path, one_line):
    corrupt(grey_folder(tmp_path, 2))
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"folder:{tmp_path}", skip_bad=True)
    one_line(error, "4 of 4")


def test_tasks_without_files_know_no_skip_bad(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_task("digits", skip_bad=True)
    one_line(error, "skip-bad")


@pytest.mark.parametrize("becomes", ["nothing", "folder", "unreadable"])
def test_a_file_that_vanishes_between_listing_and_reading(tmp_path, monkeypatch, becomes, one_line):
    paths = grey_folder(tmp_path, 10)
    listing = image_files.list_images

    def list_and_lose(where, left_out):
        found = listing(where, left_out)
        if paths[3] in found:
            paths[3].unlink(missing_ok=True)
            if becomes == "folder":
                paths[3].mkdir(exist_ok=True)
            elif becomes == "unreadable":
                paths[3].symlink_to(paths[3])
        return found

    monkeypatch.setattr(_folders.image_files, "list_images", list_and_lose)
    for skip_bad in (True, False):
        if paths[3].is_dir():
            paths[3].rmdir()
        paths[3].unlink(missing_ok=True)
        paths[3].write_bytes(paths[4].read_bytes())
        if skip_bad:
            task = reprogram.load_task(f"folder:{tmp_path}", skip_bad=True)
            assert sizes(task) == 19 and len(task.skipped) == 1
        else:
            with pytest.raises(reprogram.DataError) as error:
                reprogram.load_task(f"folder:{tmp_path}")
            one_line(error, str(paths[3]), "1 of 20")


@pytest.mark.alone
def test_a_hundred_thousand_files_are_listed_in_a_few_times_what_a_glob_takes(tmp_path):
    for part in range(10):
        (tmp_path / f"{part}").mkdir()
        for i in range(10_000):
            (tmp_path / f"{part}" / f"{i}.{'PNG' if i % 2 else 'jpeg'}").touch()
    (tmp_path / ".hidden").mkdir()
    for name in (".hidden/x.png", "1/.x.png", "1/x.txt", "1/png"):
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    begun = time.process_time()
    found = image_files.list_images(tmp_path)
    between = time.process_time()
    globbed = set(tmp_path.glob("[0-9]/[0-9]*.*"))
    assert between - begun < 5 * (time.process_time() - between)
    assert len(found) == 100_000 and found == sorted(found)
    assert set(found) == globbed


@pytest.mark.parametrize("label", [-1, 4, 2**40])
@pytest.mark.parametrize("split", SPLITS)
def test_a_label_out_of_range_names_its_item(split, label, one_line):
    task = random_task(num_classes=4)
    parts = {name: getattr(task, name) for name in SPLITS}
    labels = parts[split].labels.clone()
    labels[5] = labels[7] = label
    parts[split] = reprogram.Split(images=parts[split].images, labels=labels)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task(name="odd", class_names=task.class_names, **parts)
    one_line(error, f"{split} item 5", str(label), "1 more", "0 to 3")


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_a_label_out_of_range_in_an_idx_file_names_file_and_item(tmp_path, one_line):
    for name in ("train", "t10k"):
        labels = (np.arange(40) % 10).astype(np.uint8)
        labels[13] = 10 if name == "t10k" else 3
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(np.zeros((40, 28, 28), dtype=np.uint8)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("mnist", data=str(tmp_path))
    one_line(error, "t10k-labels-idx1-ubyte", "item 13", "10")


def test_labels_of_npz_files_are_whole_and_in_range(tmp_path, one_line):
    pixels = np.zeros((40, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(40) % 10
    for name, wrong in (("out", np.where(np.arange(40) == 31, 12, labels)), ("real", labels / 1.0)):
        path = tmp_path / f"{name}.npz"
        np.savez(path, x_train=pixels, y_train=labels, x_test=pixels, y_test=wrong)
        with pytest.raises(reprogram.DataError) as error:
            reprogram.load_task("cifar10", data=str(path))
        one_line(error, str(path), *(("test item 31", "12") if name == "out" else ("whole",)))


def peak_while_refused(load):
    """Megabytes that Python and NumPy held at the most while a task was refused; and the refusal."""
    tracemalloc.start()
    with pytest.raises(reprogram.DataError) as error:
        load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20, str(error.value)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """256 MB of zeros behind the header's 7840 bytes, in a file of 250 kB."""
    path = tmp_path / "x.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(">HBBIII", 0, 8, 3, 10, 28, 28))
        for _ in range(256):
            file.write(bytes(2**20))
    peak, message = peak_while_refused(lambda: mnist.read_idx(path, 3))
    assert peak < 8 and "longer" in message


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 2**32 - 1), (2**21, 28, 28)])
def test_an_idx_header_can_not_ask_for_memory(tmp_path, shape):
    path = tmp_path / "x"
    path.write_bytes(struct.pack(">HBBIII", 0, 8, 3, *shape) + bytes(1000))
    peak, message = peak_while_refused(lambda: mnist.read_idx(path, 3))
    assert peak < 8 and "at most" in message


def test_an_npz_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(_npz, "MAX_BYTES", 2**22)
    path = tmp_path / "x.npz"
    zeros = np.zeros((2**13, 32, 32, 3), dtype=np.uint8)
    np.savez_compressed(path, x_train=zeros, y_train=[0], x_test=zeros, y_test=[0])
    peak, message = peak_while_refused(lambda: reprogram.load_task("cifar10", data=str(path)))
    assert peak < 8 and "at most" in message


@pytest.mark.parametrize("names,text", [(("a", "b", "a"), "'a'"), (("a", "b" * 257, "c"), "256")])
def test_class_names_that_no_program_file_could_hold_are_refused(names, text, one_line):
    task = random_task(num_classes=3)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task(name="odd", train=task.train, validation=task.validation, test=task.test, class_names=names)
    one_line(error, text)


def test_mixed_grey_and_colour_files_keep_their_pixels(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(10):
            picture = Image.new("L", (3, 2), 10 * i) if i % 2 else Image.new("RGB", (3, 2), (i, 2 * i, 3 * i))
            picture.save(tmp_path / name / f"{i}.png")
    task = reprogram.load_task(f"folder:{tmp_path}")
    got = sorted(tuple(image[:, 0, 0].tolist()) for split in SPLITS for image in getattr(task, split).images)
    assert got == sorted([(10 * i,) * 3 if i % 2 else (i, 2 * i, 3 * i) for i in range(10)] * 2)
