"""What a few numbers of an image tell without any host, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import reprogram
from helpers import random_task
from reprogram.evaluation import simple_features as module
from reprogram.evaluation.simple_features import simple_features


def test_the_discriminant_is_scikit_learns():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 15)
    values = generator.normal(size=(60, 9)) + 1.2 * generator.normal(size=(4, 9))[labels]
    new = generator.normal(size=(200, 9))
    for shrinkage in module.SHRINKAGES:
        rule = module._discriminant(torch.from_numpy(values), torch.from_numpy(labels), 4, shrinkage)
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.25] * 4).fit(values, labels)
        assert np.array_equal(rule(torch.from_numpy(new).float()).argmax(1).numpy(), theirs.predict(new))


def test_counting_needs_no_more_than_brightness():
    """What the audit's easiest task gives away to anybody, with a few labelled images."""
    task = reprogram.load_task("squares(train=2000, validation=1000, test=1000)").few(20, seed=0)
    assert np.mean(simple_features(task) == task.test.labels.numpy()) > 0.99


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 30), (1, 1, 1)])
def test_images_of_any_shape_and_colour_are_read(shape):
    task = random_task(shape=shape, num_classes=3, separable=False, seed=1)
    found = simple_features(task)
    assert found.shape == (len(task.test),) and set(found.tolist()) <= {0, 1, 2}
    separable = random_task(shape=shape, num_classes=3, separable=True, seed=1) if shape != (1, 1, 1) else task
    assert simple_features(separable).shape == (len(separable.test),)


def test_equal_images_are_no_error():
    task = random_task(shape=(1, 6, 6), num_classes=2, separable=False, seed=0)
    for split in (task.train, task.validation, task.test):
        split.images.copy_(torch.zeros_like(split.images))
    assert set(simple_features(task).tolist()) <= {0, 1}
