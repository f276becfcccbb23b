"""Fisher's linear discriminant of the host's scores, in closed form; it follows the program while that is learned."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._matrix import MatrixMap
from reprogram.labelmaps.base import RefitSchedule

AUTO = -1.0
"""The number that stands for the option `shrinkage="auto"`; program files hold it."""

MAX_LABELS = 8_192
"""The most host labels that are used: the second moments of so many scores take half a gigabyte."""

PAUSE = 16
"""The map is refitted each time that a sixteenth of the images that count is new, and that is p / 32 images at least: a
fit costs as much as updating the statistics with a few times as many."""

MAX_LOG_TEMPERATURE = 20.0
"""The largest |log T| that is divided by; long steps of a learner may lead beyond it."""

NEVER = -3e4
"""The bias of a class of which no image was seen: far below what scores come to, and finite in half precision too."""

LEAST_SHARE = 1e-6
"""The smallest share of the total variance that may lie within the classes; below it the total covariance is used."""

LEAST_VARIANCE = 1e-12
"""The smallest variance of scores; below it the host gives all images the same scores."""


class Discriminant(MatrixMap):
    """Task scores by Bayes' rule, as if the host's scores were normally distributed in each class.

    With s the K scores, μ_i their mean over the n_i images of class i, μ that over all n images, and Σ the covariance
    within the classes, the score of class i is

        ((μ_i - μ)ᵀ Σ⁻¹ (s - μ) - ½ (μ_i - μ)ᵀ Σ⁻¹ (μ_i - μ) + log((n_i + 1) / (n + k))) / T.

    This is linear discriminant analysis. It needs far fewer images than a matrix that is learned step by step. Only T
    is learned, because a covariance of few images makes the map too confident. Σ is shrunk towards a multiple of the
    identity, by default by the oracle approximating shrinkage (without the terms 2 / p, as in scikit-learn) for the
    number of different images: an image that comes again, or moved by an augmentation, tells little that is new.

    The map is first fitted before the first step, and later follows the program from the scores of the steps, without
    another pass. Each new image takes away half of an earlier image's weight, so the first images hardly count in the
    end.

    Reference: Fisher, The Use of Multiple Measurements in Taxonomic Problems, 1936; Chen, Wiesel, Eldar and Hero,
    Shrinkage Algorithms for MMSE Covariance Estimation, 2010, equation 23.
    """

    refit_schedule: RefitSchedule = "steps"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            images: the most training images that the map is fitted to before the first step; the host is called for
                them. They are drawn at random by the run's seed. Learning sees them too, and on them the map is too
                confident: take few, but so many that no class has none.
            shrinkage: of the covariance, from 0, none, to 1, a multiple of the identity; "auto", which is kept as -1,
                chooses it by the oracle approximating shrinkage.
            temperature: T at the start.
            labels: p, the most host labels that are used; where the host has more, they are taken at even distances.
        """

        images: int = 300
        shrinkage: float | Literal["auto"] = AUTO
        temperature: float = 4.0
        labels: int = 2_048

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.shrinkage == "auto":
                object.__setattr__(self, "shrinkage", AUTO)  # Files hold a number.
            elif not (self.shrinkage == AUTO or 0 <= self.shrinkage <= 1):
                raise ConfigError(f"shrinkage={self.shrinkage}; a number from 0 to 1, or 'auto', is expected")
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

    def empty_statistics(self) -> Float[Tensor, "rows columns"]:
        """Zeros in the shape of the sums that `refit` reads: (k + p + 1) × (p + 1)."""
        count = len(self.looked_at)
        return torch.zeros(self.num_task_labels + count + 1, count + 1, dtype=torch.float64)

    def update(
        self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"], weights: Float[Tensor, " b"] | None = None
    ) -> None:
        """Add a batch to the sums by class and to the second moments."""
        if self.statistics is None:
            self.statistics = self.empty_statistics()
        # b x (p + 1): the scores in use, and a column of ones that counts images
        rows = F.pad(scores.to("cpu", torch.float64)[:, self.looked_at.cpu()], (0, 1), value=1)
        weighted = rows if weights is None else rows * weights.to(rows)[:, None]
        # k x (p + 1), sums by class
        self.statistics[: self.num_task_labels].index_add_(0, labels.cpu(), weighted)
        # (p + 1) x (p + 1), second moments
        self.statistics[self.num_task_labels :].addmm_(weighted.T, rows)

    def on_step(
        self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"], weights: Float[Tensor, " b"] | None = None
    ) -> None:
        """Reduce the weight of earlier images, add the batch, and refit once enough new images have come."""
        assert self.statistics is not None, "it is fitted before the first step"
        count = float(self.statistics[-1, -1])
        # b new images take away the weight of b / 2 earlier ones.
        new = len(scores) if weights is None else float(weights.sum())
        self.statistics *= max(0.0, 1 - new / (2 * count))
        self.update(scores, labels, weights)
        # A sixteenth of the power of two below the count, but at least p / 32; a refit at each multiple of it.
        pause = max(len(self.looked_at) / 2, 2.0 ** int(math.log2(count))) / PAUSE
        if count // pause != float(self.statistics[-1, -1]) // pause:
            self.refit(self.statistics)

    def refit(self, statistics: Float[Tensor, "rows columns"]) -> None:
        """Compute means, covariance within the classes, weights and bias in closed form.

        Args:
            statistics: (k + p + 1) × (p + 1) sums over images, of their p scores s and a 1 behind these. Row i < k is
                the sum of (s, 1) over the images of class i; the rows below are the sum of (s, 1)ᵀ (s, 1) over all.
        """
        # k x p and p x p
        sums, moments = statistics[: self.num_task_labels, :-1], statistics[self.num_task_labels : -1, :-1]
        # n_i, k x 1; n; μ, p
        counts, total = statistics[: self.num_task_labels, -1:], statistics[-1, -1]
        mean = statistics[-1, :-1] / statistics[-1, -1]
        # μ_i - μ, k x p; 0 for a class without images
        offsets = torch.where(counts > 0, sums / counts.clamp(min=LEAST_VARIANCE) - mean, 0)
        # Σ s sᵀ / n - μ μᵀ, p x p, of all images
        covariance = moments / total - mean.outer(mean)
        # minus Σ_i n_i / n (μ_i - μ) (μ_i - μ)ᵀ, between the classes: p x p, within the classes
        within = covariance - (offsets * counts / total).T @ offsets
        if within.trace() < LEAST_SHARE * covariance.trace():  # One image a class tells nothing of the spread within.
            within = covariance
        # Σ⁻¹ (μ_i - μ), k x p
        shrunk = self._shrunk(within, float(total.clamp(max=self.different_images)))
        weights = torch.linalg.solve(shrunk, offsets.T).T
        # log((n_i + 1) / (n + k)), k
        log_priors = ((counts[:, 0] + 1) / (total + self.num_task_labels)).log()
        with torch.no_grad():
            self.matrix.zero_()[:, self.looked_at] = weights.to(self.matrix)
            self.mean.zero_()[self.looked_at] = mean.to(self.mean)
            # log prior - ½ (μ_i - μ)ᵀ Σ⁻¹ (μ_i - μ), k
            self.bias.copy_(log_priors - (weights * offsets).sum(1) / 2)
            self.bias[counts[:, 0] == 0] = NEVER  # The mean of a class without images isn't known.

    def _shrunk(self, covariance: Float[Tensor, "p p"], count: float) -> Float[Tensor, "p p"]:
        """The shrunk covariance (1 - ρ) Σ + ρ tr(Σ) / p · I, with ρ from the options or from the number of images."""
        size = len(covariance)
        # tr(Σ); tr(Σ²), which is the sum of the squares of all entries
        trace, square = float(covariance.trace().clamp(min=0)), float(covariance.square().sum())
        shrinkage = self.config.shrinkage
        if shrinkage == AUTO:
            # ρ = (tr(Σ²) + tr(Σ)²) / ((n + 1) (tr(Σ²) - tr(Σ)² / p)), at most 1
            denominator = (count + 1) * (square - trace**2 / size)
            safe = denominator > LEAST_VARIANCE * square
            shrinkage = min(1.0, (square + trace**2) / denominator) if safe else 1.0
        shrunk: Tensor = covariance * (1 - shrinkage)
        shrunk.diagonal().add_(max(shrinkage * trace / size, LEAST_VARIANCE))
        return shrunk

    @property
    def _temperature(self) -> Float[Tensor, "1"]:
        """T; whatever it is, the class of the largest score stays the same."""
        return self.log_temperature.clamp(-MAX_LOG_TEMPERATURE, MAX_LOG_TEMPERATURE).exp()

    def effective(self) -> Float[Tensor, "k K"]:
        """The weights Σ⁻¹ (μ_i - μ) / T in row i."""
        return self.matrix / self._temperature

    def _biases(self, dtype: torch.dtype) -> Float[Tensor, " k"]:
        """The biases / T, finite in the type of the scores too."""
        limit = torch.finfo(dtype).max
        return (self.bias / self._temperature).clamp(-limit, limit).to(dtype)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Compute the score of each class by the formula of `Discriminant`."""
        # (s - μ) (Σ⁻¹ (μ_i - μ))ᵀ / T + bias / T, b x K times K x k
        return super().run(scores - self.mean.to(scores.dtype)) + self._biases(scores.dtype)
