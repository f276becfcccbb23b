"""Maps by naive Bayes on labels that count for an image: what they share."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._counts import CountMap
from reprogram.utils.smoothing import best_strength


class NaiveBayesMap(CountMap):
    """The score of class i is log π_i + Σ_j c_j log P(j | i), where c_j says how much label j counts for the image.

    With n_ij the sum of c_j over images of class i, P(j | i) = (n_ij + α / K) / (Σ_j n_ij + α). π_i is the share of
    class i in all that counted, one image more for each class. A variant's `contribution` gives c_j; its `Config` has
    the option `smoothing`, which is α / K, or None for the α that the leave-one-out likelihood chooses.
    """

    bias: Tensor

    def __init__(self, config: Any, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.register_buffer("matrix", torch.zeros_like(self.first_weights()))
        self.register_buffer("bias", torch.zeros(num_task_labels))

    @property
    def labels_per_image(self) -> int:
        """What an image that shows as much as any adds to the sums."""
        return 1

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Estimate log P(j | i) and log π_i from sums n_ij."""
        self.estimate(statistics)

    def estimate(self, statistics: Float[Tensor, "k K"], squares: Float[Tensor, "k K"] | None = None) -> None:
        """Estimate log P(j | i) and log π_i.

        Args:
            statistics: k × K sums n_ij of c_j.
            squares: k × K sums of c_j² where c_j are shares, for the leave-one-out likelihood.
        """
        labels = self.num_host_labels
        base = torch.full((labels,), 1 / labels, dtype=statistics.dtype)
        smoothing = self.config.smoothing
        strength = smoothing * labels if smoothing else best_strength(statistics, base, squares)
        # log P(j | i) = log((n_ij + α / K) / (Σ_j n_ij + α)), k x K
        counted = statistics.sum(dim=1, keepdim=True)
        logs = ((statistics + strength / labels) / (counted + strength)).log()
        # Less their mean over the classes, which changes no class's probability: what is left tells the classes apart.
        self.matrix.copy_(logs - logs.mean(dim=0))
        # images of a class are what counted for it over the labels of an image; π_i, k
        images = counted[:, 0] / self.labels_per_image + 1
        self.bias.copy_((images / images.sum()).log())


def check_smoothing(smoothing: float | None) -> None:
    """Refuse a smoothing that isn't positive.

    Args:
        smoothing: what each label counts beforehand; None for a choice by the data.

    Raises:
        ConfigError: it isn't a positive, finite number.
    """
    if smoothing is not None and not 0 < smoothing < float("inf"):
        raise ConfigError(f"smoothing={smoothing}; a positive number, or None, is expected")
