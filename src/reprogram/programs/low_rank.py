"""The frame program as a product of two thin matrices."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs.base import Program, check_init, require_frame


class LowRank(Program):
    """P = tanh((U V) ⊙ M): as `frame`, but the W of each channel has rank r.

    U is H × r and V is r × W: (H + W) · r numbers per channel in place of H · W. The idea is that of low-rank adapters
    (Hu et al., 2021), on pixels.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        """Options.

        Attributes:
            rank: r, at least 1.
            init: standard deviation of U V at the start.
        """

        rank: int = 8
        init: float = 0.05

        def __post_init__(self) -> None:
            check_init(self.init)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_frame("low-rank", geometry)
        channels, height, width = geometry.shape
        if not 1 <= config.rank <= min(height, width):
            raise ConfigError(f"low-rank: rank={config.rank}; a number from 1 to {min(height, width)} is expected")
        super().__init__(config, geometry=geometry)
        self.columns = nn.Parameter(torch.zeros(1, channels, height, config.rank))
        self.rows = nn.Parameter(torch.zeros(1, channels, config.rank, width))
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """Draw U ~ N(0, init² / r) and V ~ N(0, 1): the product's standard deviation is init."""
        with torch.no_grad():
            self.columns.copy_(torch.randn(self.columns.shape, generator=generator))
            self.columns.mul_(self.config.init / self.config.rank**0.5)
            self.rows.copy_(torch.randn(self.rows.shape, generator=generator))

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # X̃ + tanh((U V) ⊙ M) / 2; H x r times r x W, a channel
        return replace(framed, frame=framed.frame + torch.tanh(self.columns @ self.rows * self.mask) / 2)
