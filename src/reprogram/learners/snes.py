"""Separable natural evolution strategies: a normal distribution with a radius of its own for each number."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners._query_base import QueryLearner, check_positive, rank_utilities
from reprogram.learners.base import Progress


class SNES(QueryLearner):
    """Follows the natural gradient of the expected utility by mean W and standard deviations σ.

    Points are W + σ ⊙ s with normal s. W ← W + η σ ⊙ Σ u s; σ ← σ ⊙ exp(η_σ / 2 · Σ u (s² − 1)), with the rank
    utilities u of a population, and η_σ = (3 + ln d) / (5 √d).

    Reference: Wierstra et al., Natural Evolution Strategies, JMLR 2014, algorithm 6.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(QueryLearner.Config):
        """Options.

        Attributes:
            learning_rate: η, the mean's.
            radius: the standard deviation of every number at the start.
            population: points a step; None for 4 + 3 ln d, rounded down.
            race: as in every learner that only asks; the worse half of the points has no weight, or little, so that it
                hardly matters who is last.
        """

        learning_rate: float = 0.3
        radius: float = 0.03
        population: int | None = None
        race: float = 2.0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(learning_rate=self.learning_rate, radius=self.radius)
            if self.population is not None and self.population < 2:
                raise ConfigError(f"population={self.population}; at least 2 points are compared")

    @property
    def num_losses(self) -> int:
        """The population."""
        size = len(self.state["sigma"])
        return int(self.config.population or 4 + 3 * math.log(size))

    def init_state(self, size: int) -> dict[str, Tensor]:
        """σ."""
        return {"sigma": torch.full((size,), self.config.radius)}

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """Points of the distribution."""
        return point + self.state["sigma"].to(point) * self.normal(self.num_losses, point, generator)

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """A natural gradient step of mean and standard deviations."""
        sigma = self.state["sigma"].to(point)
        moves, utilities = (points - point) / sigma, rank_utilities(losses)
        rate = (3 + math.log(len(point))) / (5 * len(point) ** 0.5)
        self.state["sigma"] = sigma * (rate / 2 * (utilities @ (moves.square() - 1))).exp()
        step: Tensor = self.config.learning_rate * sigma * (utilities @ moves)
        return point + step
