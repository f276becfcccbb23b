"""The tasks that need no file: squares and digits."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from sklearn.datasets import load_digits

import reprogram

SPLITS = ("train", "validation", "test")


def arrays(task):
    return {name: (getattr(task, name).images.numpy(), getattr(task, name).labels.numpy()) for name in SPLITS}


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
    """kcelia's labels 1 to 9 were used unshifted, so ten never came."""
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


def test_shared_arrangements_come_in_every_split():
    """All 16 pictures of one square and all 120 of two: by the coupon collector 2,000 images of each are enough."""
    task = reprogram.load_task("squares(train=20000, validation=20000, test=20000, arrangements='shared')")
    for count, number in ((0, 16), (1, 120)):
        seen = [{image.tobytes() for image in images[labels == count]} for images, labels in arrays(task).values()]
        assert len(seen[0]) == number and seen[0] == seen[1] == seen[2]
    disjoint = reprogram.load_task("squares(train=20000, validation=20000, test=20000)")
    assert task.train.images.shape == disjoint.train.images.shape and task.fingerprint != disjoint.fingerprint
    named = reprogram.load_task("squares(train=20000, validation=20000, test=20000, arrangements='disjoint')")
    assert named.fingerprint == disjoint.fingerprint


def test_squares_are_a_function_of_the_seed():
    a, b, c = (reprogram.load_task(f"squares(train=100, validation=20, test=20, seed={s})") for s in (3, 3, 4))
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert torch.equal(a.train.images, b.train.images) and not torch.equal(a.train.images, c.train.images)


@pytest.mark.parametrize("option", ["train=0", "test=-1", "validation=1e9", "train=100000000"])
def test_squares_sizes_are_checked(option, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_task(f"squares({option})")
    one_line(error)


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
