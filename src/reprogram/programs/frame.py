"""A learned frame around the task image: the program of the 2018 paper."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs.base import Program, check_init


class Frame(Program):
    """P = tanh(W ⊙ M), X_adv = X̃ + P (paper, equations 1 and 2).

    W has the host's input shape and M is 0 where the task image sits, so the task image isn't touched. The paper's
    images lie in [-1, 1], ours in [0, 1]: a pixel of the frame is background + P / 2, on the mid-grey background (1 +
    tanh W) / 2.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        """Options.

        Attributes:
            init: standard deviation of the normal distribution that W starts from.
        """

        init: float = 0.05

        def __post_init__(self) -> None:
            check_init(self.init)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry)
        if not geometry.mask().any():
            raise ConfigError(
                "frame: the task image covers the whole canvas, nothing is left to learn; use the program 'full'"
            )
        self.weight = nn.Parameter(torch.zeros(1, *geometry.shape))
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: torch.Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """W ~ N(0, init²), and 0 inside the window, where it has no effect."""
        with torch.no_grad():
            self.weight.copy_(
                torch.randn(self.weight.shape, generator=generator) * self.config.init * self.geometry.mask()
            )

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        return replace(framed, frame=framed.frame + torch.tanh(self.weight * self.mask) / 2)
