"""Accuracy that can be believed: with n, a 95 % interval and the confusion matrix."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import DataError
from reprogram.tasks.base import Split, Task

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well task scores agree with labels.

    Attributes:
        n: number of images.
        correct: how many are classified rightly.
        loss: mean cross-entropy, in nats.
        confusion: row i, column j: images of class i classified as j.
    """

    n: int
    correct: int
    loss: float
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def accuracy(self) -> float:
        """Correct / n."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.correct, self.n)

    def to_json(self) -> dict[str, Any]:
        """The part of the result schema that every accuracy has."""
        return {"accuracy": self.accuracy, "n": self.n, "interval": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.4f} (n={self.n}, 95 % interval {low:.4f}..{high:.4f})"


def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson, 1927).

    Args:
        correct: successes.
        n: trials.
        z: normal quantile of the coverage, 95 % by default.

    Raises:
        DataError: no trial.
    """
    if n < 1 or not 0 <= correct <= n:
        raise DataError(f"no interval for {correct} of {n} images")
    p = correct / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def batches(split: Split, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """A split's images in order, as uint8 on the device."""
    for start in range(0, len(split), batch_size):
        yield split.images[start : start + batch_size].to(device)


@torch.no_grad()
def predict(
    model: nn.Module | Callable[[Tensor], Tensor],
    split: Split,
    *,
    batch_size: int = 64,
    stop: Callable[[], bool] = lambda: False,
) -> Float[Tensor, "n k"]:
    """Task scores of every image of a split, on the CPU.

    Args:
        model: b × c × h × w uint8 images to b × k scores.
        split: the images; none gives 0 × 0 scores.
        batch_size: images a call; scores don't depend on it.
        stop: asked before each call; from then on nothing more is computed.
    """
    device = device_of(model)
    parts = []
    for images in batches(split, batch_size, device):
        if stop():
            break
        parts.append(model(images).float().cpu())
    return torch.cat(parts) if parts else torch.empty(0, 0)


def device_of(model: Any) -> torch.device:
    """The device of a module's first tensor; the CPU for other callables."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return torch.device("cpu")


def evaluate(model: nn.Module | Callable[[Tensor], Tensor], data: Split | Task, *, batch_size: int = 64) -> Evaluation:
    """Evaluate a model on a split; on the test split of a task.

    Args:
        model: b × c × h × w uint8 images to b × k scores.
        data: a split, or a task whose test split is meant.
        batch_size: images a call.
    """
    split = data.test if isinstance(data, Task) else data
    return score(predict(model, split, batch_size=batch_size), split.labels)


def score(scores: Float[Tensor, "n k"], labels: Tensor) -> Evaluation:
    """Compare scores with labels.

    Raises:
        DataError: scores that aren't finite, or labels that the scores don't have.
    """
    if not torch.isfinite(scores).all():
        raise DataError("the scores hold values that are not finite; check the host's weights")
    k = scores.shape[1]
    if labels.numel() and int(labels.max()) >= k:
        raise DataError(f"labels go up to {int(labels.max())}, the model has {k} classes; evaluate it on its own task")
    predicted = scores.argmax(dim=1)
    confusion = torch.bincount(labels * k + predicted, minlength=k * k).view(k, k)
    return Evaluation(
        n=len(labels),
        correct=int((predicted == labels).sum()),
        loss=float(F.cross_entropy(scores, labels)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
