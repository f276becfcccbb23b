"""Every host label speaks for each task label, weighted by how probable its saying makes that one; refitted."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps._weighted import WeightedMap
from reprogram.labelmaps.base import Fitted


class Bayesian(WeightedMap):
    """Bayesian-guided label mapping, BLM and BLM+ (Cai et al., 2024), refitted as `iterative` is.

    With n_ij images of class i that the host calls j, P(i | j) = n_ij / (Σ_i n_ij + λ), and the weights of class i are
    P(i | j) / Σ_j P(i | j). With `top_fraction`, BLM+, an image counts not once for its largest score but for each of
    its int(top_fraction · k) largest with the host's probability, for 1 at the least. A class without images gets
    equal weights. Where the host says one label of all images, BLM gives all classes the same weights and nothing can
    be learned; BLM+ of more than one label tells them apart.
    """

    fitted: Fitted = "epochs"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            top_fraction: of k, the number of task labels: how many host labels an image counts for. 0 is BLM, the
                authors' BLM+ has 0.15.
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
        """Half of the labels: an untrained host may say the same of all images."""
        return cls.Config(top_fraction=0.5)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.register_buffer("matrix", self.first_weights())

    def counted(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """1 for the largest score, or the probabilities of the largest few."""
        if not self.config.top_fraction:
            return super().counted(scores)
        top = scores.softmax(dim=1).topk(max(1, int(self.config.top_fraction * self.num_task_labels)), dim=1)
        return torch.zeros_like(scores).scatter(1, top.indices, top.values)

    def refit(self, said: Float[Tensor, "k K"]) -> None:
        """Bayes' rule with smoothing, then rows that sum to 1."""
        given = said / (said.sum(dim=0) + self.config.smoothing).clamp(min=1e-30)  # 0 where nothing was said.
        total = given.sum(dim=1, keepdim=True)
        self.matrix.copy_(torch.where(total > 0, given / total.clamp(min=1e-30), 1 / self.num_host_labels))

    def validate(self) -> None:
        """Weights aren't negative and sum to 1 in each row."""
        if self.matrix.min() < 0 or (self.matrix.sum(dim=1) - 1).abs().max() > 1e-3:
            raise ConfigError("label map bayesian: weights are negative, or a row doesn't sum to 1")
