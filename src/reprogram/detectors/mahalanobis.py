"""How far the host's features are from those of ordinary queries, by their covariance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reprogram.detectors._learned import LearnedDetector
from reprogram.detectors.base import Array
from reprogram.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class Mahalanobis(LearnedDetector):
    """(z - μ)ᵀ Σ⁻¹ (z - μ) / d of the d features z, with mean μ and covariance Σ of benign queries.

    With labels it is the least distance over the classes' means, and Σ is the covariance within classes, as published.
    A service's traffic has no labels, so `calibrate` fits one mean. Σ is shrunk towards a multiple of the identity by
    the share that Ledoit and Wolf (2004) derive, unless `shrinkage` gives one: features are often more than queries.

    Reference: Lee, Lee, Lee and Shin, A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks, NeurIPS 2018, section 2.1.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "features"
    has_gradient = True
    learned = ("means", "precision")

    @dataclass(frozen=True, kw_only=True)
    class Config(LearnedDetector.Config):
        """Options.

        Attributes:
            shrinkage: the share of the identity in the covariance, in [0, 1]; by default it is estimated.
        """

        shrinkage: float | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
                raise ConfigError(f"shrinkage={self.shrinkage}; a share from 0 to 1 is expected")

    def fit(self, answers: Array, labels: Array | None = None) -> None:
        """Take mean and covariance of features.

        Args:
            answers: n × d.
            labels: the class of each, n whole numbers; by default all are of one.
        """
        from sklearn.covariance import ledoit_wolf, shrunk_covariance

        groups = np.zeros(len(answers), dtype=int) if labels is None else np.asarray(labels)
        classes, index = np.unique(groups, return_inverse=True)
        means = np.stack([answers[index == i].mean(axis=0) for i in range(len(classes))])
        within = answers - means[index]
        if self.config.shrinkage is None:
            covariance = ledoit_wolf(within, assume_centered=True)[0]
        else:
            covariance = shrunk_covariance(within.T @ within / len(within), shrinkage=self.config.shrinkage)
        self.arrays = {"means": means, "precision": np.linalg.pinv(covariance, hermitian=True)}

    def value(self, answer: Array) -> float:
        """The least distance over the means, divided by d."""
        away = self.vector_like(answer, "means") - self.arrays["means"]  # classes x d
        distances = ((away @ self.arrays["precision"]) * away).sum(axis=1)
        return float(distances.min() / len(answer))

    def values_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The same of b × d features."""
        away = answers[:, None] - self.learned_like(answers, "means")  # b x classes x d
        return ((away @ self.learned_like(answers, "precision")) * away).sum(dim=2).amin(dim=1) / answers.shape[1]

    def check_learned(self, arrays: Mapping[str, Array]) -> bool:
        """Whether both arrays are of the same number of features."""
        means, precision = arrays["means"], arrays["precision"]
        return means.ndim == 2 and means.size > 0 and precision.shape == (means.shape[1],) * 2
