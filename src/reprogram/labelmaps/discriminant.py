"""Fisher's linear discriminant of the host's scores, in closed form; it follows the program while that is learned."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps._weighted import WeightedMap
from reprogram.labelmaps.base import Fitted

MAX_LABELS = 8_192
"""That are looked at: the moments of so many scores take half a gigabyte."""
PAUSE = 16
"""A fit comes after p / 16 images at least, as it costs as much as to hear a few times as many, and after a sixteenth
of those that count."""
MAX_LOG_TEMPERATURE = 20.0
LEAST_SHARE = 1e-6
"""Of the variance, within the classes."""
LEAST_VARIANCE = 1e-12
"""Of scores: below it a host says the same of all images."""


class Discriminant(WeightedMap):
    """Task scores by Bayes' rule, as if the host's scores were normally distributed in each class.

    With s the K scores, μ_i their mean over the n_i images of class i, μ that over all n images, and Σ the covariance
    within the classes, the score of class i is

        ((μ_i - μ)ᵀ Σ⁻¹ (s - μ) - ½ (μ_i - μ)ᵀ Σ⁻¹ (μ_i - μ) + log((n_i + 1) / (n + k))) / T.

    This is linear discriminant analysis (Fisher, 1936). It needs far fewer images than a matrix that is learned step
    by step. Only T is learned, for a covariance of few images makes the map too sure. Σ is shrunk towards a multiple of
    the identity, by default as far as the oracle approximating shrinkage says (Chen, Wiesel, Eldar, Hero, 2010; without
    the terms 2 / p, as scikit-learn has it), for the number of different images: one that is heard again, or moved
    by an augmentation, tells little that is new.

    The first fit comes before the first step; later ones follow the program, from the scores of the steps, without
    another pass. A new image drives out half of an earlier one, so what was heard at the beginning hardly counts in the
    end.
    """

    fitted: Fitted = "steps"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            images: training images that are looked at before the first step, at the most; the host is called for
                them. They come first in learning too, where the map is too sure of them: take few.
            shrinkage: of the covariance, from 0 to 1; -1 chooses it.
            temperature: T at the start.
            labels: host labels that are looked at, at the most; where the host has more, these are taken evenly.
        """

        images: int = 300
        shrinkage: float = -1.0
        temperature: float = 4.0
        labels: int = 2_048

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (self.shrinkage == -1 or 0 <= self.shrinkage <= 1):
                raise ConfigError(f"shrinkage={self.shrinkage}; a number from 0 to 1 is expected, or -1 to choose it")
            if not 1e-3 <= self.temperature <= 1e3:
                raise ConfigError(f"temperature={self.temperature}; 0.001 to 1000 is expected")
            if not 1 <= self.labels <= MAX_LABELS:
                raise ConfigError(f"labels={self.labels}; 1 to {MAX_LABELS:,} are expected")

    mean: Tensor
    bias: Tensor
    looked_at: Tensor

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        count = min(config.labels, num_host_labels)
        self.register_buffer("looked_at", torch.arange(count) * num_host_labels // count, persistent=False)
        self.register_buffer("matrix", self.first_weights())
        self.register_buffer("mean", torch.zeros(num_host_labels))
        self.register_buffer("bias", torch.zeros(num_task_labels))
        self.log_temperature = nn.Parameter(torch.tensor([config.temperature]).log())

    def statistics(self) -> Float[Tensor, "rows columns"]:
        """Of the p scores that are looked at, and a one behind them: sums of each class, and the second moments."""
        count = len(self.looked_at)
        return torch.zeros(self.num_task_labels + count + 1, count + 1, dtype=torch.float64)

    def hear(self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"]) -> None:
        """Add a batch to the sums."""
        if self.heard is None:
            self.heard = self.statistics()
        seen = F.pad(scores.to("cpu", torch.float64)[:, self.looked_at.cpu()], (0, 1), value=1)
        self.heard[: self.num_task_labels].index_add_(0, labels.cpu(), seen)
        self.heard[self.num_task_labels :].addmm_(seen.T, seen)

    def follow(self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"]) -> None:
        """Forget a little, add the batch, and now and then fit."""
        assert self.heard is not None, "it is fitted before the first step"
        count = float(self.heard[-1, -1])
        self.heard *= max(0.0, 1 - len(scores) / (2 * count))
        self.hear(scores, labels)
        pause = max(len(self.looked_at) / 2, 2.0 ** int(math.log2(count))) / PAUSE
        if count // pause != float(self.heard[-1, -1]) // pause:
            self.refit(self.heard)

    def refit(self, said: Float[Tensor, "rows columns"]) -> None:
        """The closed form.

        Args:
            said: what `statistics` describes, summed.
        """
        sums, moments = said[: self.num_task_labels, :-1], said[self.num_task_labels : -1, :-1]
        counts, total, mean = said[: self.num_task_labels, -1:], said[-1, -1], said[-1, :-1] / said[-1, -1]
        towards = torch.where(counts > 0, sums / counts.clamp(min=LEAST_VARIANCE) - mean, 0)
        around = moments / total - mean.outer(mean)
        within = around - (towards * counts / total).T @ towards
        if within.trace() < LEAST_SHARE * around.trace():  # One image a class: nothing is known of the spread within.
            within = around
        solved = torch.linalg.solve(self._shrunk(within, float(total.clamp(max=self.different_images))), towards.T).T
        prior = ((counts[:, 0] + 1) / (total + self.num_task_labels)).log()
        with torch.no_grad():
            self.matrix.zero_()[:, self.looked_at] = solved.to(self.matrix)
            self.mean.zero_()[self.looked_at] = mean.to(self.mean)
            self.bias.copy_(prior - (solved * towards).sum(1) / 2)

    def _shrunk(self, covariance: Float[Tensor, "p p"], total: float) -> Float[Tensor, "p p"]:
        """The covariance, mixed with the identity times its mean variance."""
        size = len(covariance)
        trace, square = float(covariance.trace().clamp(min=0)), float(covariance.square().sum())
        share = self.config.shrinkage
        if share < 0:
            apart = (total + 1) * (square - trace**2 / size)
            share = min(1.0, (square + trace**2) / apart) if apart > LEAST_VARIANCE * square else 1.0
        shrunk: Tensor = covariance * (1 - share)
        shrunk.diagonal().add_(max(share * trace / size, LEAST_VARIANCE))
        return shrunk

    def validate(self) -> None:
        """The temperature is a positive number that can be divided by."""
        if not self.log_temperature.abs() < MAX_LOG_TEMPERATURE:
            raise ConfigError("label map discriminant: the temperature lies outside what learning comes to")

    def effective(self) -> Float[Tensor, "k K"]:
        """Σ⁻¹ (μ_i - μ) / T."""
        return self.matrix / self.log_temperature.exp()

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """The formula above."""
        return super().run(scores - self.mean.to(scores.dtype)) + (self.bias / self.log_temperature.exp()).to(scores)
