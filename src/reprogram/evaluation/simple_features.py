"""What anybody reads from a few numbers of an image: its brightness, and what is left of it when it is made small."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from reprogram.labelmaps.discriminant import Discriminant
from reprogram.tasks._split import Split
from reprogram.tasks.base import Task

GRID = 7
"""The side of the small image, in pixels."""

SHRINKAGES = (0.01, 0.1, 0.5)
"""The parts of the covariance that are replaced by its mean variance, of which validation chooses."""


def simple_features(task: Task) -> Int[NDArray[np.int64], " n"]:
    """The classes of the test images by a linear discriminant of brightness and contrast, or of a small image too.

    No host has a part in it, and nothing is trained step by step: what tasks such as counting bright squares give away
    to anybody. The rule is the label map `discriminant`, of features in the place of host scores. Validation chooses
    among the features and the shrinkage; of equals the first.

    Args:
        task: the task; the test split is looked at once.

    Returns:
        A class for each test image.
    """
    best, found = -1.0, torch.zeros(len(task.test), dtype=torch.int64)
    for features in (_levels, _small):
        train, validation, test = (features(split) for split in (task.train, task.validation, task.test))
        mean, scale = train.mean(0), train.std(0, correction=0) + 1e-6
        more = max(0, task.num_classes - train.shape[1])  # The map asks for as many columns as classes.
        train, validation, test = (F.pad((values - mean) / scale, (0, more)) for values in (train, validation, test))
        for shrinkage in SHRINKAGES:
            rule = _discriminant(train, task.train.labels.cpu(), task.num_classes, shrinkage)
            right = float((rule(validation).argmax(1) == task.validation.labels.cpu()).double().mean())
            if right > best:
                best, found = right, rule(test).argmax(1)
    return found.numpy()


def _levels(split: Split) -> Float[Tensor, "n d"]:
    """Mean and standard deviation of each channel, n × 2 c."""
    pixels = split.images.cpu().float().flatten(2) / 255
    return torch.cat([pixels.mean(2), pixels.std(2, correction=0)], dim=1)


def _small(split: Split) -> Float[Tensor, "n d"]:
    """These, and the image on a grid, n × (2 + GRID²) c."""
    small = F.adaptive_avg_pool2d(split.images.cpu().float() / 255, GRID).flatten(1)
    return torch.cat([_levels(split), small], dim=1)


def _discriminant(values: Tensor, labels: Tensor, num_classes: int, shrinkage: float) -> Discriminant:
    """The label map `discriminant` of features in the place of host scores."""
    found = Discriminant(
        Discriminant.Config(shrinkage=shrinkage), num_host_labels=values.shape[1], num_task_labels=num_classes
    )
    found.update(values, labels)
    assert found.statistics is not None
    found.refit(found.statistics)
    return found.requires_grad_(False)
