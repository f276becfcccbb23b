"""Adam on the program's gradient: white-box learning, as in the 2018 paper."""

from dataclasses import dataclass

import torch
from torch import nn

from reprogram.errors import ConfigError
from reprogram.learners._descent import Descent


class Gradient(Descent):
    """Minimises −log P(h_g(y) | X_adv) + λ‖W‖² by Adam (paper, equation 3)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Descent.Config):
        """Options.

        Attributes:
            betas: Adam's decay rates of first and second moment.
        """

        betas: tuple[float, float] = (0.9, 0.999)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not all(0 <= beta < 1 for beta in self.betas):
                raise ConfigError(f"betas={self.betas}; two numbers in [0, 1) are expected")

    def optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=self.config.betas)
