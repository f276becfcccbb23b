"""Adam on the program's gradient: white-box learning, as in the 2018 paper."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from reprogram.errors import ConfigError
from reprogram.learners._gradient_base import GradientLearner


class Adam(GradientLearner):
    """Minimises −log P(h_g(y) | X_adv) + λ‖W‖² by Adam (paper, equation 3).

    Reference: Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GradientLearner.Config):
        """Options.

        Attributes:
            betas: the decay rates of first and second moment, in [0, 1).
        """

        betas: tuple[float, float] = (0.9, 0.999)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not all(0 <= beta < 1 for beta in self.betas):
                raise ConfigError(f"betas={self.betas}; two numbers in [0, 1) are expected")

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The number of steps, and the first and second moment of the gradient, 0 at the start."""
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        return {"step": torch.tensor(0.0, dtype=torch.float32, device="cpu"), **moments}

    def update(self, gradients: list[Tensor], rate: float) -> None:
        """Make a step of Adam."""
        adam(
            list(self.parameters),
            gradients,
            self.slot("exp_avg"),
            self.slot("exp_avg_sq"),
            [],
            self.slot("step"),
            amsgrad=False,
            beta1=self.config.betas[0],
            beta2=self.config.betas[1],
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
