"""Gradient descent with momentum, as the visual prompts of vision-language hosts are learned."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners._descent import Descent


class Momentum(Descent):
    """Stochastic gradient descent with heavy-ball momentum (Bahng et al., arXiv 2203.17274; ILM-VP and AttrVR on CLIP).

    Pixels have small gradients, hence steps of 40.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Descent.Config):
        """Options.

        Attributes:
            learning_rate: step size at the start.
            momentum: what is kept of the last direction.
        """

        learning_rate: float = 40.0
        momentum: float = 0.9

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.momentum < 1:
                raise ConfigError(f"momentum={self.momentum}; a number in [0, 1) is expected")

    @classmethod
    def example(cls) -> Config:
        """A step for losses whose gradients aren't small."""
        return cls.Config(learning_rate=0.05)

    def memory(self, parameter: Tensor) -> dict[str, Tensor]:
        """The last direction."""
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def move(self, gradients: list[Tensor], rate: float) -> None:
        """Along the gradient and what is kept of the last direction."""
        for parameter, last, gradient in zip(
            self.parameters, self.remembered("momentum_buffer"), gradients, strict=True
        ):
            parameter.add_(last.mul_(self.config.momentum).add_(gradient), alpha=-rate)
