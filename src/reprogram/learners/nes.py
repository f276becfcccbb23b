"""Natural evolution strategies with one fixed radius: mirrored normal moves, weighted by their losses' ranks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.learners._query_base import QueryLearner, check_positive, rank_utilities
from reprogram.learners.base import Progress


class NES(QueryLearner):
    """W ← W + η √d · ĝ / ‖ĝ‖ with ĝ = Σ_k u_k s_k: s_k are normal moves and their mirror images, u_k rank utilities.

    A step moves each number by η at the root of the mean square, whatever the losses' scale: only their order counts.

    Reference: Wierstra et al., Natural Evolution Strategies, JMLR 2014; mirrored as in Ilyas et al., Black-box
    Adversarial Attacks with Limited Queries and Information, ICML 2018.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(QueryLearner.Config):
        """Options.

        Attributes:
            learning_rate: η, the step of a number at the start; it falls to 0 as a cosine over the budget.
            radius: the standard deviation of the moves.
            pairs: moves a step; each asks for two losses.
            race: as in every learner that only asks; the worse half of the points has no weight, or little, so that it
                hardly matters who is last.
        """

        learning_rate: float = 0.005
        radius: float = 0.03
        pairs: int = 10
        race: float = 2.0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_positive(learning_rate=self.learning_rate, radius=self.radius, pairs=self.pairs)

    @property
    def num_losses(self) -> int:
        """Two for each pair."""
        return 2 * int(self.config.pairs)

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """Points on both sides."""
        moves = self.config.radius * self.normal(self.config.pairs, point, generator)
        return torch.cat([point + moves, point - moves])

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """A step of fixed length along the weighted moves."""
        # Σ u s
        direction = rank_utilities(losses) @ (points - point)
        length = self.config.learning_rate * progress.cosine * len(point) ** 0.5
        step: Tensor = length * direction / direction.norm().clamp_min(1e-30)
        return point + step
