"""What a run says of its data: images in two splits, classes and labels that are missing."""

import hashlib
import time

import pytest
import torch

import reprogram
from helpers import random_task
from reprogram.evaluation import datacheck

SPLITS = ("train", "validation", "test")


def with_copies(task, copies):
    """The task with the first images of a split written over the last of another."""
    splits = {split: getattr(task, split) for split in SPLITS}
    for (source, target), count in copies.items():
        pixels = splits[target].images.clone()
        pixels[-count:] = splits[source].images[:count]
        splits[target] = reprogram.Split(images=pixels, labels=splits[target].labels)
    return reprogram.Task(name="copies", class_names=task.class_names, **splits)


def test_overlap_is_counted_by_content():
    task = random_task(n=(200, 60, 80), separable=False)
    assert set(datacheck.check(task).overlap.values()) == {0} and datacheck.check(task).warnings() == []
    task = with_copies(task, {("train", "test"): 7, ("train", "validation"): 5, ("validation", "test"): 2})
    seen = {split: [image.numpy().tobytes() for image in getattr(task, split).images] for split in SPLITS}
    expected = {
        "validation_in_train": sum(image in seen["train"] for image in seen["validation"]),
        "test_in_train": sum(image in seen["train"] for image in seen["test"]),
        "test_in_validation": sum(image in seen["validation"] for image in seen["test"]),
    }
    assert datacheck.check(task).overlap == expected == {
        "validation_in_train": 5,
        "test_in_train": 5,
        "test_in_validation": 7,
    }  # fmt: skip
    assert len(datacheck.check(task).warnings()) == 3


@pytest.mark.alone
def test_overlap_of_seventy_thousand_images_takes_a_few_times_what_hashing_does():
    pixels = torch.randint(0, 256, (70_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[60_000:60_010] = pixels[:10]
    labels = torch.arange(70_000) % 10
    parts = [
        reprogram.Split(images=pixels[a:b], labels=labels[a:b])
        for a, b in ((0, 55_000), (55_000, 60_000), (60_000, 70_000))
    ]
    task = reprogram.Task(
        name="many", train=parts[0], validation=parts[1], test=parts[2], class_names=tuple("0123456789")
    )
    begun = time.process_time()
    found = datacheck.check(task)
    between = time.process_time()
    for pixel in pixels:
        hashlib.blake2b(pixel.numpy().tobytes()).digest()
    assert between - begun < 5 * (time.process_time() - between), "more than a few digests of each image"
    assert found.overlap == {"validation_in_train": 0, "test_in_train": 10, "test_in_validation": 0}


def test_a_class_missing_from_a_split_is_told():
    task = random_task(num_classes=4)
    few = reprogram.Split(images=task.test.images[:2], labels=task.test.labels[:2])
    task = reprogram.Task(
        name="few", train=task.train, validation=task.validation, test=few, class_names=task.class_names
    )
    found = datacheck.check(task)
    assert found.missing_classes == {"train": [], "validation": [], "test": ["class 2", "class 3"]}
    assert found.warnings() == ["the test split holds no image of class class 2, class 3"]
