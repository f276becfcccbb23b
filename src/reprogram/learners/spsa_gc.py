"""SPSA with gradient correction, BlackVIP's learner: the estimate is taken where the momentum leads."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners.base import Progress
from reprogram.learners.spsa import SPSA


class SPSAGC(SPSA):
    """M ← β M − a_k ĝ(W + β M); W ← W + M, with the estimate ĝ of SPSA.

    It is Nesterov's accelerated gradient with an estimate in place of the gradient.

    Reference: Oh et al., BlackVIP: Black-Box Visual Prompting for Robust Transfer Learning, CVPR 2023, equation 5.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(SPSA.Config):
        """Options.

        Attributes:
            momentum: β, in [0, 1).
            averages: directions Δ a step; BlackVIP takes five.
            learning_rate: a, the size of the first step.
        """

        momentum: float = 0.9
        averages: int = 5
        learning_rate: float = 0.0005

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.momentum < 1:
                raise ConfigError(f"momentum={self.momentum}; a number in [0, 1) is expected")

    @classmethod
    def example(cls) -> Config:
        """Small steps."""
        return cls.Config(learning_rate=0.01, averages=1)

    def init_state(self, size: int) -> dict[str, Tensor]:
        """M, 0 at the start."""
        return {"momentum_buffer": torch.zeros(size)}

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """Points on both sides of where the momentum leads."""
        return super().ask(point + self._lead(point), generator)

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """The accelerated step."""
        # M = β M - a g; W + M
        momentum = self._lead(point) - self.rate * self.estimate(points, losses)
        self.state["momentum_buffer"] = momentum
        return point + momentum

    def _lead(self, point: Tensor) -> Tensor:
        lead: Tensor = self.config.momentum * self.state["momentum_buffer"].to(point)
        return lead
