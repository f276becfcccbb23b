"""Splits: stratified, seeded, fingerprinted."""

from fractions import Fraction

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task
from reprogram.tasks._split import Split, from_arrays, split_off, stratified

SPLITS = ("train", "validation", "test")


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


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_each_class_keeps_an_image_and_gives_one_where_it_has_two(n, fraction):
    images = np.random.default_rng(0).integers(0, 256, (3 * n, 8, 8), dtype=np.uint8)
    stays, off = split_off(from_arrays(images, np.arange(3 * n) % 3), fraction, 0)
    assert np.bincount(stays.labels, minlength=3).min() >= 1
    assert np.bincount(off.labels, minlength=3).tolist() == [min(max(round(n * fraction), 1), n - 1)] * 3


@pytest.mark.parametrize("choose", [lambda task: task.few(2, seed=-1), lambda task: task.with_test_sample(2, seed=-2)])
def test_a_negative_seed_is_one_line(choose, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        choose(random_task())
    one_line(error, "seed=-", "a whole number from 0 on")


@pytest.mark.parametrize("size", [-1, 0, 2.5, True])
def test_a_sample_of_no_images_is_refused(size, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        random_task().with_test_sample(size, seed=0)
    one_line(error, f"{size} images", "from 1")


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
    for shots in (0, -1):
        with pytest.raises(reprogram.ConfigError, match=f"shots={shots}; at least 1"):
            task.few(shots, seed=0)
    with pytest.raises(reprogram.DataError, match=r"class 'a' has 15 train image\(s\), 16 shot"):
        task.few(16, seed=0)


@pytest.mark.parametrize("sizes", [(50, 30, 20), (333, 1, 66), (7, 7, 7, 7, 7), (1000, 3)])
def test_a_sample_has_each_class_by_its_share(sizes):
    """Oracle: Hamilton's apportionment in fractions, which is defined by floors and the largest remainders."""
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)))
    for count in {1, 2, 5, sum(sizes) // 3, sum(sizes) - 1, sum(sizes)}:
        chosen = stratified(labels, count, 7)
        assert len(set(chosen.tolist())) == count and chosen.tolist() == sorted(chosen.tolist())
        counts = np.bincount(labels[chosen], minlength=len(sizes))
        exact = [Fraction(count * size, sum(sizes)) for size in sizes]
        rounded_up = [got - int(share) for got, share in zip(counts, exact, strict=True)]
        assert set(rounded_up) <= {0, 1}
        parts = [share - int(share) for share in exact]
        up = [part for part, more in zip(parts, rounded_up, strict=True) if more]
        down = [part for part, more in zip(parts, rounded_up, strict=True) if not more]
        assert not up or not down or min(up) >= max(down)


def test_a_sample_depends_on_the_seed_and_equal_remainders_fall_to_all_classes():
    labels = torch.arange(1000) % 10
    assert stratified(labels, 100, 3).equal(stratified(labels, 100, 3))
    assert not stratified(labels, 100, 3).equal(stratified(labels, 100, 4))
    seen = {int(labels[i]) for seed in range(60) for i in stratified(labels, 3, seed)}
    assert seen == set(range(10))


def test_a_sampled_test_split_is_a_part_of_it():
    task = random_task(n=(40, 12, 100))
    assert task.with_test_sample("all", seed=0) is task
    sampled = task.with_test_sample(20, seed=5)
    assert np.bincount(sampled.test.labels).tolist() == [5, 5, 5, 5]
    assert sampled.test.images.equal(task.test.images[stratified(task.test.labels, 20, 5)])
    assert sampled.train is task.train and len(task.with_test_sample(10**6, seed=0).test) == 100


@pytest.mark.parametrize("labels", [[0, 2, 1], [0.0, 2.0, 1.0], np.array([0, 2, 1], dtype=np.uint8)])
def test_labels_of_arrays_are_whole_numbers_of_any_type(labels):
    images = np.arange(3 * 4 * 5 * 2, dtype=np.uint8).reshape(3, 4, 5, 2)
    split = from_arrays(images, np.array(labels))
    assert split.labels.tolist() == [0, 2, 1] and split.labels.dtype == torch.int64
    assert all(int(split.images[i, c, y, x]) == images[i, y, x, c] for i, y, x, c in np.ndindex(images.shape))


@pytest.mark.parametrize(
    "labels,says",
    [
        ([0, 0.9, 1], "item 1 has the label 0.9"),
        ([0, 1, float("nan")], "item 2"),
        (np.eye(3), "shape (3, 3)"),
        ([0, 1], "3 images"),
    ],
)
@pytest.mark.parametrize("make", [from_arrays, lambda images, labels: Split(images=images, labels=labels)])
def test_labels_are_neither_rounded_nor_taken_from_elsewhere(make, labels, says, one_line):
    images, labels = np.zeros((3, 4, 4), dtype=np.uint8), np.array(labels)
    given = (images, labels) if make is from_arrays else (torch.from_numpy(images)[:, None], torch.from_numpy(labels))
    with pytest.raises(reprogram.DataError) as error:
        make(*given)
    one_line(error, says)
