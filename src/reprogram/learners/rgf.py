"""Random gradient-free estimates, BAR's learner: one-sided differences along random directions."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reprogram.learners._query_base import QueryLearner, check_positive
from reprogram.learners.base import Progress


class RGF(QueryLearner):
    """W ← W − η ĝ, with ĝ = b / q · Σ_j (L(W + μ U_j) − L(W)) / μ · U_j over q unit vectors U_j.

    With b = d, the number of learned numbers, the estimate's mean is the gradient of the smoothed loss.

    Reference: Tsai, Chen and Ho, Transfer Learning without Knowing (BAR), ICML 2020, equation 4.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(QueryLearner.Config):
        """Options.

        Attributes:
            learning_rate: η, the step size at the start.
            radius: μ, the length of a move.
            directions: q; a step asks for q + 1 losses. BAR takes 25 and 55.
            scale: b; None for d.
            schedule: `cosine` falls to 0 over the budget, `constant` stays.
        """

        learning_rate: float = 0.01
        radius: float = 0.1
        directions: int = 25
        scale: float | None = None
        schedule: Literal["cosine", "constant"] = "cosine"

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(learning_rate=self.learning_rate, radius=self.radius, directions=self.directions)
            if self.scale is not None:
                check_positive(scale=self.scale)

    @property
    def num_losses(self) -> int:
        """One for each direction, and one at the point itself."""
        return int(self.config.directions) + 1

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """The point itself, and points at the distance μ."""
        directions = self.normal(self.config.directions, point, generator)
        directions /= directions.norm(dim=1, keepdim=True)
        return torch.cat([point[None], point + self.config.radius * directions])

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """A step against the estimate."""
        config = self.config
        scale = len(point) if config.scale is None else config.scale
        # b · mean of (L(W + μ U) - L(W)) / μ · U
        slopes = (losses[1:] - losses[0]) / config.radius
        gradient = scale * (slopes[:, None] * (points[1:] - point) / config.radius).mean(0)
        step: Tensor = config.learning_rate * (progress.cosine if config.schedule == "cosine" else 1.0) * gradient
        return point - step
