"""Steps whose length doesn't depend on the gradient's size: EVP's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.learners._gradient_base import GradientLearner


class NormalizedSGD(GradientLearner):
    """Steps W ← W − η g / ‖g‖, with the norm over all numbers of a parameter.

    Reference: Wu et al., Unleashing the Power of Visual Prompting At the Pixel Level (EVP), arXiv 2212.10556.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GradientLearner.Config):
        """Options.

        Attributes:
            learning_rate: η, the length of a step in the space of W.
        """

        learning_rate: float = 5.0

    def update(self, gradients: list[Tensor], rate: float) -> None:
        """Make a step of length η against the gradient; a gradient of zero makes none."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            # W - η u / ‖u‖ with u = g / max |g|, whose squares don't vanish where those of g do
            tiny = torch.finfo(gradient.dtype).tiny
            unit = gradient / gradient.abs().amax().clamp_min(tiny)
            parameter.add_(unit / unit.norm().clamp_min(tiny), alpha=-rate)
