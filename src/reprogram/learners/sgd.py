"""Gradient descent with momentum, as the visual prompts of vision-language hosts are learned."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners._gradient_base import GradientLearner


class SGD(GradientLearner):
    """Stochastic gradient descent with heavy-ball momentum, as ILM-VP and AttrVR use it on CLIP.

    The default step size is 40 because the gradients of pixels are small.

    Reference: Bahng et al., Exploring Visual Prompts for Adapting Large-Scale Models, arXiv 2203.17274.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GradientLearner.Config):
        """Options.

        Attributes:
            learning_rate: step size at the start.
            momentum: the factor of the last direction, in [0, 1).
        """

        learning_rate: float = 40.0
        momentum: float = 0.9

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.momentum < 1:
                raise ConfigError(f"momentum={self.momentum}; a number in [0, 1) is expected")

    @classmethod
    def example(cls) -> Config:
        """A step size for losses whose gradients aren't small."""
        return cls.Config(learning_rate=0.05)

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The last direction, 0 at the start."""
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def update(self, gradients: list[Tensor], rate: float) -> None:
        """Make a step against the gradient plus the decayed last direction."""
        # v = momentum · v + g; W - η v
        for parameter, last, gradient in zip(self.parameters, self.slot("momentum_buffer"), gradients, strict=True):
            parameter.add_(last.mul_(self.config.momentum).add_(gradient), alpha=-rate)
