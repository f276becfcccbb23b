"""Datasets of torchvision and Hugging Face: exact pixels and class names, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram


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
