"""The class of the training image whose scores are nearest, no program (SnatchML)."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from reprogram.evaluation.baselines._asked import ask, asks
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score

TIE = 1e-6
"""Cosines that differ by less count as the same: answers with a label alone are often equal."""


class NearestNeighbour(Baseline):
    """Each test image gets the class of the training image whose host scores have the largest cosine with its own.

    Of several that are equally near the most frequent class counts, so on labels alone this is a vote of the images
    that the host gave the same label. It asks about as many training images as the run may ask for.

    Reference: Ghorbel et al., Model for Peanuts: Hijacking ML Models without Training Access is Possible, SaTML 2025
    (arXiv 2406.01708).
    """

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that the test images are compared with, and the test images."""
        return asks(run)

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        asked = ask(run)
        votes = neighbours(asked.train, asked.labels, asked.test, run.task.num_classes)
        run.predictions["nearest_neighbour"] = votes.argmax(dim=1)
        return {**score(votes, run.task.test.labels).to_json(), "train_images": len(asked.labels)}


def neighbours(
    train: Float[Tensor, "n K"], labels: Int[Tensor, " n"], test: Float[Tensor, "m K"], num_classes: int
) -> Float[Tensor, "m k"]:
    """The votes of the nearest training images.

    Args:
        train: n × K scores.
        labels: n classes.
        test: m × K scores.
        num_classes: k.

    Returns:
        m × k, how many of the nearest images have each class.
    """
    known, votes = F.normalize(train.double(), dim=1), F.one_hot(labels, num_classes).double()
    found = []
    for some in torch.split(F.normalize(test.double(), dim=1), 256):
        cosines = some @ known.T
        nearest = cosines >= cosines.amax(dim=1, keepdim=True) - TIE
        found.append(nearest.double() @ votes)
    return torch.cat(found)
