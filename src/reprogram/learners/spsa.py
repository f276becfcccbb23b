"""Simultaneous perturbation: all numbers are moved at once, to both sides, and two losses give a direction."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners._query_base import QueryLearner, check_positive, clipped
from reprogram.learners.base import Progress


class SPSA(QueryLearner):
    """W ← W − a_k ĝ, with ĝ the mean of (L(W + c_k Δ) − L(W − c_k Δ)) / (2 c_k Δ) over random moves Δ.

    Both sides are asked on the same images. The estimate's norm is clipped at √d for d numbers, which ZIP (Park et
    al., ICLR 2025) found to be worth much where losses are noisy. Gains fall as in Spall's guidelines:
    a_k = a / (k + 1 + A)^α · (1 + A)^α and c_k = c / (k + 1)^γ, so that the first step has size a.

    Reference: Spall, Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient Approximation,
    IEEE TAC 1992.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(QueryLearner.Config):
        """Options.

        Attributes:
            learning_rate: a, the size of the first step.
            radius: c, how far the numbers are moved to both sides at first.
            averages: directions Δ a step; each asks for two losses.
            decay: α, how the step falls, in [0, 1].
            offset: A, steps before it falls.
            radius_decay: γ, how the radius falls, in [0, 1].
            moves: Δ are random `signs`, or numbers from ±[½, 1], `segmented-uniform`, as BlackVIP's code draws them.
            clip: whether the estimate's norm is at most √d.
        """

        learning_rate: float = 0.003
        radius: float = 0.05
        averages: int = 1
        decay: float = 0.602
        offset: float = 100.0
        radius_decay: float = 0.101
        moves: Literal["signs", "segmented-uniform"] = "signs"
        clip: bool = True

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(learning_rate=self.learning_rate, radius=self.radius, averages=self.averages)
            if not (0 <= self.decay <= 1 and 0 <= self.radius_decay <= 1 and self.offset >= 0):
                raise ConfigError("decay and radius_decay lie in [0, 1], and offset is at least 0")

    @property
    def num_losses(self) -> int:
        """Two for each direction."""
        return 2 * int(self.config.averages)

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """Points on both sides."""
        size = self.config.averages, len(point)
        signs = torch.randint(2, size, generator=generator).to(point) * 2 - 1
        if self.config.moves == "segmented-uniform":
            signs *= (1 + torch.rand(size, generator=generator, dtype=point.dtype).to(point.device)) / 2
        moves = self.radius * signs
        return torch.cat([point + moves, point - moves])

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """A step against the estimate."""
        return point - self.rate * self.estimate(points, losses)

    def estimate(self, points: Tensor, losses: Tensor) -> Tensor:
        """The estimate ĝ of the gradient.

        Args:
            points: 2p × d, as `ask` returned them.
            losses: 2p.

        Returns:
            d.
        """
        (above, below), (upper, lower) = points.chunk(2), losses.chunk(2)
        # mean of (L+ - L-) / (2 c Δ), where 2 c Δ is the difference of the points; 0 where rounding ate the move
        moves = above - below
        gradient = torch.where(moves != 0, (upper - lower)[:, None] / moves, 0.0).mean(0)
        return clipped(gradient, len(gradient) ** 0.5) if self.config.clip else gradient

    @property
    def radius(self) -> float:
        """c_k."""
        return float(self.config.radius / (self.num_steps + 1) ** self.config.radius_decay)

    @property
    def rate(self) -> float:
        """a_k."""
        first = 1 + self.config.offset
        return float(self.config.learning_rate * (first / (self.num_steps + first)) ** self.config.decay)
