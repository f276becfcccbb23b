"""A learned image over the whole canvas, added to the task image too."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from reprogram.framed import Framed, Geometry
from reprogram.programs.base import Program, check_init


class Full(Program):
    """P = tanh(W) everywhere, X_adv = clip(X̃ + P): the "watermark" of visual prompting (Bahng et al., 2022).

    As in `frame`, P of the paper's [-1, 1] units is halved for [0, 1] pixels. With the canvas `resize` the task image
    fills the canvas and the program is added to all of it.
    """

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
        self.weight = nn.Parameter(torch.zeros(1, *geometry.shape))

    def initialize(self, generator: torch.Generator) -> None:
        """W ~ N(0, init²)."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator) * self.config.init)

    def run(self, framed: Framed) -> Framed:
        """Add P to frame and window."""
        drawn = torch.tanh(self.weight) / 2
        inside = drawn[..., framed.box.rows, framed.box.columns]
        return replace(framed, frame=framed.frame + drawn, window=framed.window + inside)
