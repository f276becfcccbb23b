"""CMA-ES: a normal distribution that learns its step size and its covariances, all of them or the diagonal."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners._query_base import QueryLearner, check_positive
from reprogram.learners.base import Progress

FULL_BY_DEFAULT = 300
"""The most numbers all of whose covariances are learned where `covariance` is "auto"."""

FULL_AT_MOST = 3000
"""The most numbers whose covariances may be asked for; a step decomposes a matrix of their square."""


class CMA(QueryLearner):
    """Samples W + σ y with y ~ N(0, C), and follows the ranks of the losses with W, σ and C.

    It is the tutorial's algorithm with its default weights and rates, negative weights included. The diagonal of C
    alone is learned (d + 2) / 3 times as fast. Its state is a few tensors in float64, so that a continued run goes on
    exactly; random numbers come from the run's own generator.

    Reference: Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772, appendix A. Diagonal: Ros and Hansen,
    A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity, PPSN 2008.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(QueryLearner.Config):
        """Options.

        Attributes:
            radius: σ, the standard deviation of every number at the start.
            population: p, points a step; None for 4 + 3 ln d, rounded down.
            covariance: `full` learns all of C, `diagonal` its diagonal; `auto` is full up to 300 numbers.
            race: as in every learner that only asks; the worse half of the points has no weight, or little, so that it
                hardly matters who is last.
        """

        radius: float = 0.01
        population: int | None = None
        covariance: Literal["auto", "full", "diagonal"] = "auto"
        race: float = 2.0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(radius=self.radius)
            if self.population is not None and self.population < 2:
                raise ConfigError(f"population={self.population}; at least 2 points are compared")

    @property
    def num_losses(self) -> int:
        """The population."""
        return int(self.config.population or 4 + 3 * math.log(len(self.state["path"])))

    def init_state(self, size: int) -> dict[str, Tensor]:
        """σ, both paths and C, whose diagonal stands for it where that is all that is learned."""
        full = self.config.covariance == "full" or (self.config.covariance == "auto" and size <= FULL_BY_DEFAULT)
        if full and size > FULL_AT_MOST:
            raise ConfigError(
                f"cma: covariance='full' of {size:,} numbers; {FULL_AT_MOST:,} at the most, or take 'diagonal'"
            )
        path = torch.zeros(size, dtype=torch.float64)
        covariance = torch.eye(size, dtype=torch.float64) if full else torch.ones(size, dtype=torch.float64)
        sigma = torch.tensor(self.config.radius, dtype=torch.float64)
        return {"sigma": sigma, "path": path, "step_path": path.clone(), "covariance": covariance}

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """Points of the distribution."""
        normal = torch.randn(self.num_losses, len(point), generator=generator, dtype=torch.float64)
        # W + σ C^½ z
        return point + (self.state["sigma"] * self._times_root(normal, 1)).to(point)

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """A step of mean, step size and covariances; none where all losses are equal, which have no order."""
        if losses.min() == losses.max():
            return point
        state, covariance = self.state, self.state["covariance"]
        size, sigma, rates = len(point), state["sigma"], Rates(len(point), len(points), covariance.ndim == 1)
        order = losses.cpu().argsort(stable=True)
        # y = (x - W) / σ, the best first, and their weighted mean
        moves = ((points - point).cpu().double() / sigma)[order]
        mean = rates.weights.clamp_min(0) @ moves
        # p_σ = (1 - c) p_σ + √(c (2 - c) μ) C^-½ <y>
        step_path = (1 - rates.step_path) * state["step_path"] + (
            rates.step_path * (2 - rates.step_path) * rates.mass
        ) ** 0.5 * self._times_root(mean[None], -1)[0]
        # h_σ holds the path back while σ grows fast.
        grown = step_path.norm() / (1 - (1 - rates.step_path) ** (2 * (self.num_steps + 1))) ** 0.5
        hold = float(grown < (1.4 + 2 / (size + 1)) * rates.length)
        # p_c = (1 - c) p_c + h_σ √(c (2 - c) μ) <y>
        path = (1 - rates.path) * state["path"] + hold * (rates.path * (2 - rates.path) * rates.mass) ** 0.5 * mean
        # Negative weights times d / ‖C^-½ y‖²
        lengths = self._times_root(moves, -1).square().sum(dim=1).clamp_min(1e-30)
        weights = torch.where(rates.weights < 0, rates.weights * size / lengths, rates.weights)
        # C (1 + c_1 δ(h_σ) - c_1 - c_μ Σ w) + c_1 p_c p_cᵀ + c_μ Σ w y yᵀ
        kept = 1 + rates.one * ((1 - hold) * rates.path * (2 - rates.path) - 1) - rates.rank * rates.weights.sum()
        if covariance.ndim == 1:
            new = kept * covariance + rates.one * path.square() + rates.rank * weights @ moves.square()
        else:
            new = kept * covariance + rates.one * path.outer(path) + rates.rank * (moves.T * weights) @ moves
            new = (new + new.T) / 2
        # σ exp(c / damping (‖p_σ‖ / E‖N(0, I)‖ - 1))
        factor = (rates.step_path / rates.damping * (step_path.norm() / rates.length - 1)).exp()
        self.state = {"sigma": sigma * factor, "path": path, "step_path": step_path, "covariance": new}
        step: Tensor = (sigma * mean).to(point)
        return point + step

    def _times_root(self, rows: Tensor, sign: int) -> Tensor:
        """The rows times C^½, or with the sign -1 times C^-½."""
        covariance = self.state["covariance"]
        if covariance.ndim == 1:
            return rows * covariance.clamp_min(1e-30) ** (sign / 2)
        values, vectors = torch.linalg.eigh(covariance)
        # z B D^(±1) Bᵀ
        product: Tensor = (rows @ vectors) * values.clamp_min(1e-30) ** (sign / 2) @ vectors.T
        return product


class Rates:
    """The tutorial's weights and rates, table 1, for p points of d numbers.

    Args:
        size: d.
        population: p.
        diagonal: whether the diagonal of C alone is learned.

    Attributes:
        weights: p, of the points in the order of their losses; the positive ones sum to 1.
        mass: μ_eff, how many equally weighted points the positive weights amount to.
        one: c_1, of the path's outer product.
        rank: c_μ, of the points' outer products.
        path: c_c, of the path.
        step_path: c_σ, of the path that decides the step size.
        damping: d_σ, of the step size.
        length: the expected norm of d standard normal numbers.
    """

    def __init__(self, size: int, population: int, diagonal: bool) -> None:
        # w' = log((p + 1) / 2) - log i
        raw = math.log((population + 1) / 2) - torch.arange(1, population + 1, dtype=torch.float64).log()
        positive, negative = raw.clamp_min(0), raw.clamp_max(0)
        # (Σ w)² / Σ w²
        self.mass = mass = float(positive.sum() ** 2 / positive.square().sum())
        mass_negative = float(negative.sum() ** 2 / negative.square().sum())
        faster = (size + 2) / 3 if diagonal else 1.0
        self.one = min(1.0, faster * 2 / ((size + 1.3) ** 2 + mass))
        self.rank = min(1 - self.one, faster * 2 * (0.25 + mass + 1 / mass - 2) / ((size + 2) ** 2 + mass))
        # The sum of the negative weights: they undo the decay of C at the most, and leave it positive definite.
        most = min(
            1 + self.one / self.rank,
            1 + 2 * mass_negative / (mass + 2),
            (1 - self.one - self.rank) / (size * self.rank),
        )
        self.weights = positive / positive.sum() - most * negative / negative.sum()
        self.path = (4 + mass / size) / (size + 4 + 2 * mass / size)
        self.step_path = (mass + 2) / (size + mass + 5)
        self.damping = 1 + 2 * max(0.0, ((mass - 1) / (size + 1)) ** 0.5 - 1) + self.step_path
        # √2 Γ((d + 1) / 2) / Γ(d / 2)
        self.length = 2**0.5 * math.exp(math.lgamma((size + 1) / 2) - math.lgamma(size / 2))
