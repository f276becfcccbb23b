"""A learned matrix and bias turn all host scores into task scores; with the program, or without one."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.labelmaps._assign import assign, benefit_of
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._matrix import MatrixMap
from reprogram.registry import added_later

PACE = 1000**0.5
"""The scale of standardized scores, times K: a step of Adam moves all K weights of a task score at once."""

LEAST_SPREAD = 1e-6
"""The smallest spread that scores are divided by; below it the host gives all images the same scores."""


class Linear(MatrixMap):
    """Task scores W s / ⁴√K + b of the K host scores s; W and b are learned together with the program.

    The division tames a learner's steps, which move all K weights of a task score at once. With the program `none` this
    is a linear probe of the host's scores. The map needs the loss `task`: with `host` its scores could grow for ever.

    With `standardize` the task scores are √1000 W (s - m) / (r K) + b: m are the K scores' means over some
    training images, r is the root mean square of s - m. The map is as linear as before, but the learner moves in other
    coordinates: most of a host's scores is common to all images and drowns the differences between them. And the map
    starts small, with 1 / √K for the first host labels, so that the program has to learn as well.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            init: the start values of W: the `first` k host labels, those of the map `frequency` (the only one that
                uses `images`), or `random` numbers.
            seed: decides the random numbers.
            standardize: the number of training images that the scores' means are taken from, before the first step; 0
                takes the scores as they are.
        """

        init: Literal["first", "frequency", "random"] = "first"
        seed: int = 0
        standardize: int = added_later(0)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.standardize < 0:
                raise ConfigError(f"standardize={self.standardize}; a number of images is expected, 0 for none")

    mean: Tensor
    spread: Tensor

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        fit_images = max(config.images if config.init == "frequency" else 0, config.standardize)
        self.refit_schedule, self.fit_images = "once" if fit_images else "never", fit_images
        # Scores are multiplied by √1000 / K, or by 1 / ⁴√K; the first weights then are 1 / √K, or 1.
        self.scale: float = PACE / num_host_labels if config.standardize else num_host_labels**-0.25
        self.start: float = (num_host_labels**-0.5 if config.standardize else 1) / self.scale
        weights = self.first_weights()
        if config.init == "random":
            weights.normal_(generator=torch.Generator().manual_seed(config.seed))
        else:
            weights.diagonal().mul_(self.start)
        self.matrix = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.zeros(num_task_labels))
        if config.standardize:
            self.register_buffer("mean", torch.zeros(num_host_labels))
            self.register_buffer("spread", torch.ones(1))

    @property
    def fit_decides(self) -> bool:
        """Only where the fit chooses the start values of W; mean and spread tell nothing of the classes."""
        return bool(self.config.init == "frequency")

    def empty_statistics(self) -> Float[Tensor, "parts k K"]:
        """Three matrices by class and host label: counts of predictions, sums of scores, sums of their squares."""
        return torch.zeros(3, self.num_task_labels, self.num_host_labels, dtype=torch.float64)

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "parts b K"]:
        """1 for the largest score; all scores; their squares; 0 for an image whose scores are all alike."""
        largest = super().contribution(scores)
        heard = scores * largest.sum(dim=1, keepdim=True)
        return torch.stack([largest, heard, heard.square()])

    def refit(self, statistics: Float[Tensor, "parts k K"]) -> None:
        """Set mean and spread, and start from the most frequent predictions, as the options ask."""
        counts, sums, squares = statistics
        with torch.no_grad():
            if self.config.standardize:
                # m = Σ s / n, K
                count = counts.sum().clamp(min=torch.finfo(counts.dtype).tiny)
                mean = sums.sum(0) / count
                # r² = the mean over host labels of Σ s² / n - m²
                spread = ((squares.sum(0) / count - mean.square()).clamp(min=0).mean()).sqrt()
                self.mean.copy_(mean)
                self.spread.fill_(float(spread) if spread > LEAST_SPREAD else 1.0)
            if self.config.init == "frequency":
                labels = assign(benefit_of(counts), "greedy").view(-1, 1)
                self.matrix.copy_(torch.zeros_like(counts).scatter(1, labels, self.start))

    def effective(self) -> Float[Tensor, "k K"]:
        """The weights that scores are multiplied by: W / ⁴√K, or √1000 W / (r K)."""
        return self.matrix * self.scale / (self.spread if self.config.standardize else 1)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Apply matrix and bias."""
        # (s - m) Wᵀ + b, b x K times K x k
        centred = scores - self.mean.to(scores.dtype) if self.config.standardize else scores
        return super().run(centred) + self.bias.to(scores.dtype)

    def validate(self) -> None:
        """Refuse a spread that isn't positive."""
        if self.config.standardize and not self.spread > 0:
            raise ConfigError("label map linear: the scores' spread isn't positive")
