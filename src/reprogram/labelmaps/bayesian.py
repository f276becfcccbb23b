"""Task scores are sums of all host scores, weighted by P(task label | host label); refitted for each epoch."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._matrix import MatrixMap
from reprogram.labelmaps.base import RefitSchedule


class Bayesian(MatrixMap):
    """Bayesian-guided label mapping, BLM and BLM+, refitted for each epoch as `iterative` is.

    With n_ij images of class i that the host predicts as j, P(i | j) = n_ij / (Σ_i n_ij + λ), and the weights of class
    i are P(i | j) / Σ_j P(i | j). With `top_fraction`, BLM+, an image counts not once for its largest score but for
    each of its int(top_fraction · k) largest, at least one, with the host's probability. A class without images gets
    equal weights. Where the host predicts one label for all images, BLM gives all classes the same weights and nothing
    can be learned; BLM+ of more than one label tells the classes apart.

    Reference: Cai et al., Bayesian-guided Label Mapping for Visual Reprogramming, NeurIPS 2024.
    """

    refit_schedule: RefitSchedule = "epochs"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            top_fraction: the number of host labels that an image counts for, over k, the number of task labels. 0 is
                BLM; the authors' BLM+ has 0.15.
            smoothing: λ of Laplace's smoothing.
        """

        top_fraction: float = 0.0
        smoothing: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.top_fraction <= 1:
                raise ConfigError(f"top_fraction={self.top_fraction}; a number from 0 to 1 is expected")
            if not 0 <= self.smoothing < float("inf"):
                raise ConfigError(f"smoothing={self.smoothing}; 0 or a positive number is expected")

    @classmethod
    def example(cls) -> Config:
        """Half of the labels: an untrained host may predict the same label for all images."""
        return cls.Config(top_fraction=0.5)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.register_buffer("matrix", self.first_weights())

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """1 for the largest score, or with `top_fraction` the probabilities of the largest few that are shown."""
        if not self.config.top_fraction:
            return super().contribution(scores)
        chances = scores.softmax(dim=1)
        top = chances.topk(max(1, int(self.config.top_fraction * self.num_task_labels)), dim=1)
        # Labels that an answer doesn't show share the least score: which of them comes first says nothing.
        hidden = scores == scores.amin(dim=1, keepdim=True)
        hidden &= hidden.sum(dim=1, keepdim=True) > 1
        return torch.zeros_like(scores).scatter(1, top.indices, top.values).masked_fill(hidden, 0)

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Apply Bayes' rule with smoothing, and normalise the rows."""
        # P(i | j) = n_ij / (Σ_i n_ij + λ), k x K; 0 for a host label that is never predicted
        posterior = statistics / (statistics.sum(dim=0) + self.config.smoothing).clamp(min=1e-30)
        total = posterior.sum(dim=1, keepdim=True)
        # P(i | j) / Σ_j P(i | j), or 1 / K in the row of a class without images
        self.matrix.copy_(torch.where(total > 0, posterior / total.clamp(min=1e-30), 1 / self.num_host_labels))

    def validate(self) -> None:
        """Refuse negative weights, and rows that don't sum to 1."""
        if self.matrix.min() < 0 or (self.matrix.sum(dim=1) - 1).abs().max() > 1e-3:
            raise ConfigError("label map bayesian: weights are negative, or a row doesn't sum to 1")
