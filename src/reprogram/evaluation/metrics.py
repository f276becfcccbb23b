"""Accuracy with n, a 95 % interval and the confusion matrix."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import DataError
from reprogram.utils.arguments import checked
from reprogram.utils.finite import require_finite
from reprogram.utils.text import html_table

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well task scores agree with labels.

    Attributes:
        n: the number of images.
        correct: how many of them are classified rightly.
        loss: the mean cross-entropy, in nats.
        confusion: k × k counts; row i, column j holds the images of class i that are classified as j.
    """

    n: int
    correct: int
    loss: float
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def accuracy(self) -> float:
        """The accuracy, correct / n."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.correct, self.n)

    @property
    def different_answers(self) -> int:
        """The number of classes that were answered at all; 0 without a confusion matrix."""
        return sum(map(any, zip(*self.confusion, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """The fields that every accuracy of a result has: `accuracy`, `n` and `interval`."""
        return {"accuracy": self.accuracy, "n": self.n, "interval": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.4f} (n={self.n}, 95 % interval {low:.4f}..{high:.4f})"

    def __repr__(self) -> str:
        return f"Evaluation: accuracy {self}, loss {self.loss:.4f}"

    def _repr_html_(self) -> str:
        low, high = self.interval
        interval = f"{low:.4f} to {high:.4f}"
        facts = {"accuracy": f"{self.accuracy:.4f}", "95 % interval": interval, "right": f"{self.correct} of {self.n}"}
        return html_table({**facts, "loss, nats": f"{self.loss:.4f}"})


@checked
def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Args:
        correct: the number of successes, 0 to n.
        n: the number of trials, at least 1.
        z: the normal quantile of the coverage; 95 % by default.

    Returns:
        The lower and the upper end, in [0, 1].

    Raises:
        DataError: there is no trial, or `correct` is out of range.

    Reference: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    if n < 1 or not 0 <= correct <= n:
        raise DataError(f"no interval for {correct} of {n} images")
    # (p + z² / 2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z² / n)
    p = correct / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = max((centre - half) / scale, 0.0) if correct else 0.0
    return low, min((centre + half) / scale, 1.0) if correct < n else 1.0


def score(scores: Float[Tensor, "n k"], labels: Tensor) -> Evaluation:
    """Compare task scores with labels.

    Args:
        scores: n × k task scores (logits).
        labels: n class indices, 0 to k - 1, on any device.

    Raises:
        DataError: there is no image, a score isn't finite, or a label is negative, k or more.
    """
    if not len(labels):
        raise DataError("there are no images to measure with; give some")
    require_finite(scores)
    labels = labels.to(scores.device)
    k = scores.shape[1]
    if int(labels.min()) < 0:
        raise DataError(f"labels go down to {int(labels.min())}; numbers from 0 on are expected")
    if int(labels.max()) >= k:
        raise DataError(f"labels go up to {int(labels.max())}, the model has {k} classes; evaluate it on its own task")
    predicted = scores.argmax(dim=1)
    # k × k: images of class i that are classified as j
    confusion = torch.bincount(labels * k + predicted, minlength=k * k).view(k, k)
    return Evaluation(
        n=len(labels),
        correct=int((predicted == labels).sum()),
        loss=float(F.cross_entropy(scores, labels)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
