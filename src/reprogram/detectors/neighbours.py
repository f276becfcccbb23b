"""How far the host's features are from the nearest ones of ordinary queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reprogram.detectors._accounts import check_count
from reprogram.detectors._learned import LearnedDetector
from reprogram.detectors.base import Array
from reprogram.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class Neighbours(LearnedDetector):
    """The distance of z / |z| to the k-th nearest of the same of benign queries; z are the host's features.

    Of more than `bank` benign queries, evenly spaced ones are kept.

    Reference: Sun, Ming, Zhu and Li, Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022, section 3.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "features"
    has_gradient = True
    learned = ("bank",)

    @dataclass(frozen=True, kw_only=True)
    class Config(LearnedDetector.Config):
        """Options.

        Attributes:
            k: which neighbour; the paper takes 50 of CIFAR-10's 50,000 images.
            bank: benign queries that are kept, at the most.
        """

        k: int = 5
        bank: int = 2000

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("k", self.k, 1, 100_000)
            check_count("bank", self.bank, self.k, 1_000_000)

    def fit(self, answers: Array) -> None:
        """Keep benign features."""
        if len(answers) < self.config.k:
            raise DataError(f"neighbours: {len(answers)} benign queries for k={self.config.k}; give more")
        chosen = np.linspace(0, len(answers) - 1, min(len(answers), self.config.bank)).round().astype(int)
        self.arrays = {"bank": np.stack([_unit(answers[i]) for i in chosen]).astype(np.float32)}

    def value(self, answer: Array) -> float:
        """The distance to the k-th neighbour, in [0, 2]."""
        own = _unit(self.vector_like(answer, "bank")).astype(np.float32)
        # |a - b|² = 2 - 2 a·b for vectors of length 1
        nearness = self.arrays["bank"] @ own
        kth = np.partition(nearness, -self.config.k)[-self.config.k]
        return float(np.sqrt(max(2 - 2 * float(kth), 0)))

    def values_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The same of b × d features; one that lies on its neighbour has no gradient."""
        own = answers / answers.norm(dim=1, keepdim=True).clamp_min(1e-12)
        kth = (own @ self.learned_like(answers, "bank").T).topk(self.config.k, dim=1).values[:, -1]
        distances: Tensor = (2 - 2 * kth).clamp_min(1e-12).sqrt()
        return distances

    def check_learned(self, arrays: Mapping[str, Array]) -> bool:
        """Whether there are enough neighbours."""
        bank = arrays["bank"]
        return bank.ndim == 2 and bank.size > 0 and len(bank) >= self.config.k


def _unit(vector: Array) -> Array:
    """The vector with length 1; one of zeros stays."""
    unit: Array = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return unit
