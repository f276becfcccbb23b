"""Splits: stratified, seeded, fingerprinted."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task
from reprogram.tasks._split import split_off

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
