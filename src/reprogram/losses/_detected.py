"""What detectors make of a host's scores and features, with a gradient; kept detectors are read from their files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError


def largest_softmax(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """-max_j softmax(h / T)_j of b × K scores h: b numbers.

    Args:
        scores: b × K.
        temperature: T, above 0.
    """
    return -(scores / temperature).softmax(dim=1).amax(dim=1)


def energy(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """-T log Σ_j exp(h_j / T) of b × K scores h: b numbers.

    Args:
        scores: b × K.
        temperature: T, above 0.
    """
    return -temperature * (scores / temperature).logsumexp(dim=1)


def mahalanobis(features: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """min_c (z - μ_c)ᵀ Σ⁻¹ (z - μ_c) / d of b × d features z: b numbers.

    Args:
        features: b × d.
        means: c × d.
        precision: d × d, Σ⁻¹.
    """
    away = features[:, None] - means  # b x c x d
    return ((away @ precision) * away).sum(dim=2).amin(dim=1) / features.shape[1]


def neighbours(features: Tensor, bank: Tensor, k: int) -> Tensor:
    """The distance of z / |z| to the k-th nearest row of a bank, for b × d features z: b numbers.

    Args:
        features: b × d.
        bank: n × d, rows of length 1.
        k: which neighbour, at most n.
    """
    kth = (F.normalize(features, dim=1) @ bank.T).topk(k, dim=1).values[:, -1]
    # |a - b|² = 2 - 2 a·b for vectors of length 1; the root has no gradient at 0.
    return (2 - 2 * kth).clamp_min(1e-12).sqrt()


@dataclass(frozen=True)
class Detected:
    """A detector's score of each image, and the threshold that it was kept with.

    Attributes:
        reads: "scores" or "features".
        score: b × K scores or b × d features to b numbers; larger ones are more suspicious.
        threshold: the alarm rings above it; None where it was never set.
        over: the alarm goes by the mean score of so many queries of an account.
    """

    reads: str
    score: Callable[[Tensor], Tensor]
    threshold: float | None = None
    over: int = 1

    def means(self, answers: Tensor) -> Tensor:
        """The scores that the alarm goes by: of each image its own, or the mean of the `over` images around it.

        Args:
            answers: b × K scores or b × d features of queries that an account sends one after the other.
        """
        scores = self.score(answers)
        if self.over == 1:
            return scores
        return torch.cat([part.mean().expand(len(part)) for part in torch.split(scores, self.over)])


def kept(path: str) -> Detected:
    """The score of a detector that `Detector.save` wrote.

    Args:
        path: its file.

    Raises:
        ConfigError: its detector has no score with a gradient here, or has learned nothing yet.
        DataError: the file is missing, or no detector's.
    """
    from reprogram.detectors.base import Detector

    detector = Detector.load(Path(path))
    name, options = detector.name(), detector.config
    arrays = {key: torch.from_numpy(array) for key, array in getattr(detector, "arrays", {}).items()}
    if name in ("largest-softmax", "energy"):
        sign = -1.0 if getattr(options, "confident" if name == "largest-softmax" else "low") else 1.0
        value = largest_softmax if name == "largest-softmax" else energy
        return Detected(
            "scores", lambda scores: sign * value(scores, options.temperature), detector.threshold, options.over
        )
    if name not in ("mahalanobis", "neighbours"):
        raise ConfigError(
            f"evading: {path} holds {name}, whose score has no gradient here; give largest-softmax, energy, "
            "mahalanobis or neighbours"
        )
    if not arrays:
        raise ConfigError(f"evading: the detector of {path} has learned nothing yet; calibrate it first")
    return Detected(
        "features", lambda features: _of_features(features, arrays, options), detector.threshold, options.over
    )


def _of_features(features: Tensor, arrays: dict[str, Tensor], options: Any) -> Tensor:
    """The score that a detector of features has, by what it learned."""
    (wide,) = {array.shape[1] for array in arrays.values()}
    if features.shape[1] != wide:
        raise ConfigError(f"evading: the host has {features.shape[1]} features; the detector learned from {wide}")
    own = {name: array.to(features) for name, array in arrays.items()}
    if "bank" in own:
        return neighbours(features, own["bank"], options.k)
    return mahalanobis(features, own["means"], own["precision"])
