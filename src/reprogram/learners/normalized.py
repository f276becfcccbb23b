"""Steps whose length doesn't depend on the gradient's size: EVP's."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def direction(self, gradients: list[Tensor]) -> list[Tensor]:
        """Of length one; a gradient of zero stays zero."""
        return [gradient / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny) for gradient in gradients]

    def optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """SGD without momentum."""
        return torch.optim.SGD(parameters, lr=self.config.learning_rate)
