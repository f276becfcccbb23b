"""Steps whose length doesn't depend on the gradient's size: EVP's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.learners._descent import Descent


class Normalized(Descent):
    """W ← W − η g / ‖g‖, the norm over all of a parameter's numbers (EVP, arXiv 2212.10556)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Descent.Config):
        """Options.

        Attributes:
            learning_rate: η, the length of a step in the space of W.
        """

        learning_rate: float = 5.0

    def move(self, gradients: list[Tensor], rate: float) -> None:
        """By η along the gradient's direction; a gradient of zero stays zero."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            length = gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny)
            parameter.add_(gradient / length, alpha=-rate)
