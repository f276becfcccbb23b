"""Tasks of NPZ files: CIFAR-10 and arrays of one's own."""

import gc
import io
import os
import zipfile

import numpy as np
import pytest

import reprogram
from reprogram.tasks._npz import arrays_of

SPLITS = ("train", "validation", "test")


def test_cifar10_reads_the_lossless_sample(shared):
    path = shared / "data" / "cifar10_lossless_train4000_test1000.npz"
    task = reprogram.load_task("cifar10", data=str(path))
    assert [len(getattr(task, name)) for name in SPLITS] == pytest.approx([3600, 400, 1000], abs=5)
    with np.load(path) as stored:
        np.testing.assert_array_equal(task.test.images.numpy(), stored["x_test"].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(task.test.labels.numpy(), stored["y_test"])
    assert task.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert task.class_names[3] == "cat" and task.class_names[8] == "ship"


def npz(path, **change):
    rng = np.random.default_rng(0)
    content = {
        "x_train": rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(40) % 10,
        "x_test": rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        "y_test": (np.arange(20) % 10).reshape(-1, 1),
    } | change
    np.savez(path, **{k: v for k, v in content.items() if v is not None})
    return path


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


NPZ = {
    "missing array": {"y_test": None},
    "floats": {"x_train": np.zeros((40, 32, 32, 3))},
    "grey": {"x_train": np.zeros((40, 32, 32), dtype=np.uint8)},
    "other count": {"y_train": np.arange(39) % 10},
    "label out of range": {"y_train": np.arange(40) % 11},
    "negative label": {"y_train": np.arange(40) % 10 - 1},
    "empty": {"x_test": np.zeros((0, 32, 32, 3), dtype=np.uint8), "y_test": np.zeros(0, dtype=int)},
    "other size": {"x_test": np.zeros((20, 30, 32, 3), dtype=np.uint8)},
    "pickled": {"y_train": np.array([{"a": 1}] * 40, dtype=object)},
    "one class": {"y_train": np.zeros(40, dtype=int)},
    "channels first": {"x_train": np.zeros((40, 3, 32, 32), dtype=np.uint8)},
    "beyond 64 bits with a sign": {"y_train": np.full(40, 2**64 - 1, dtype=np.uint64)},
}


@pytest.mark.parametrize("name", NPZ)
def test_bad_npz_files_are_refused(tmp_path, name, one_line):
    assert len(reprogram.load_task("cifar10", data=str(npz(tmp_path / "good.npz"))).test) == 20
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("cifar10", data=str(npz(tmp_path / "bad.npz", **NPZ[name])))
    one_line(error)


@pytest.mark.parametrize(
    "member,words",
    [
        (("x_train.npy", b"hello"), "x_train is no array"),
        (("x_train.npy", b""), "x_train is no array"),
        (("x_test", npy(np.zeros((20, 32, 32, 3), dtype=np.uint8))), "x_test 2 times"),
        (("x_test.npy", npy(np.zeros((20, 32, 32, 3), dtype=np.uint8))), "x_test 2 times"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_no_array_or_there_twice(tmp_path, member, words, one_line):
    """NumPy gives what is no array as bytes, and one of two members of a name."""
    path = npz(tmp_path / "x.npz", **({"x_train": None} if "no array" in words else {}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(*member)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"arrays:{path}")
    one_line(error, str(path), words)


def test_a_pipe_is_not_waited_for(tmp_path, one_line):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"arrays:{tmp_path / 'x.npz'}")
    one_line(error, "ordinary file")


@pytest.mark.parametrize("spec", ["arrays:", "folder:"])
def test_a_path_that_is_empty_is_not_the_working_folder(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_task(spec)
    one_line(error, "nothing stands after the colon")


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"hello", None])
def test_files_that_are_no_npz_are_refused(tmp_path, raw, one_line):
    path = tmp_path / "x.npz"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("cifar10", data=str(path))
    one_line(error, str(path))
    gc.collect()  # A file left open would be reported here.


def test_arrays_are_a_task_of_the_files_name(tmp_path):
    path = npz(tmp_path / "letters.npz", y_train=np.arange(40) % 4, y_test=np.arange(20) % 4)
    task = reprogram.load_task(f"arrays:{path}")
    assert (task.name, task.class_names) == ("arrays:letters", ("0", "1", "2", "3"))
    with np.load(path) as stored:
        np.testing.assert_array_equal(task.test.images.numpy(), stored["x_test"].transpose(0, 3, 1, 2))
    assert sorted([*task.train.labels.tolist(), *task.validation.labels.tolist()]) == sorted(
        (np.arange(40) % 4).tolist()
    )


@pytest.mark.parametrize("change", [{"y_train": np.arange(40) * 10**6}, {"y_train": np.arange(40) - 1}, NPZ["empty"]])
def test_arrays_that_are_no_task_are_refused(tmp_path, change, one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"arrays:{npz(tmp_path / 'x.npz', **change)}")
    one_line(error)


def test_altered_archives_give_their_arrays_or_one_line(tmp_path, one_line):
    path = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    images, labels = (rng.integers(0, 4, (30, 8, 8)) * 60).astype(np.uint8), rng.integers(0, 3, 30)
    np.savez_compressed(path, x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    raw, refused = path.read_bytes(), 0
    for _ in range(600):
        damaged = bytearray(raw)
        damaged[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            train, test = arrays_of(path)
        except reprogram.DataError as error:
            refused += 1
            assert "\n" not in str(error) and str(error).startswith(f"{path}: ")
        else:
            np.testing.assert_array_equal(train.images[:, 0], images)
            np.testing.assert_array_equal(test.labels, labels[:9])
    assert refused > 300


def test_archives_that_numpy_cant_open_are_refused(tmp_path, one_line):
    """Encrypted, compressed by a method that isn't known, and of an odd version."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x_train=np.zeros((2, 4, 4), dtype=np.uint8))
    raw, entry = path.read_bytes(), path.read_bytes().rindex(b"PK\x01\x02")
    for offset, value in ((8, 1), (10, 77), (6, 250)):
        changed = bytearray(raw)
        changed[entry + offset] = value
        changed[{8: 6, 10: 8, 6: 4}[offset]] = value
        path.write_bytes(changed)
        with pytest.raises(reprogram.DataError) as error:
            arrays_of(path)
        one_line(error, "x.npz")


@pytest.mark.parametrize("shape", [(40, 0, 28), (40, 28, 0, 3), (40, 28, 28, 0)])
def test_images_without_pixels_are_refused(tmp_path, shape, one_line):
    path = tmp_path / "x.npz"
    images = np.zeros(shape, dtype=np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(40) % 2, x_test=images, y_test=np.arange(40) % 2)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"arrays:{path}")
    one_line(error, "no pixels")
