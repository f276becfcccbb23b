"""Adam on the program's gradient: white-box learning, as in the 2018 paper."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

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

    def memory(self, parameter: Tensor) -> dict[str, Tensor]:
        """Steps, and first and second moment."""
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        return {"step": torch.tensor(0.0, dtype=torch.float32, device="cpu"), **moments}

    def move(self, gradients: list[Tensor], rate: float) -> None:
        """Adam."""
        adam(
            list(self.parameters),
            gradients,
            self.remembered("exp_avg"),
            self.remembered("exp_avg_sq"),
            [],
            self.remembered("step"),
            amsgrad=False,
            beta1=self.config.betas[0],
            beta2=self.config.betas[1],
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
