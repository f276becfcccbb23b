"""The frame program as its lowest cosine waves: a few smooth numbers for learners that only ask."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._subspace import check_side, cosine_basis
from reprogram.programs.base import DenseProgram, require_frame


class Cosine(DenseProgram):
    """P = tanh(s · Bᵀ W B) / 2 on the frame, as `frame`, with the lowest N × N waves B of the cosine transform.

    The factor s = √(H W) / N gives pixels the standard deviation of W on average: steps mean the same as for `frame`.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            side: N, frequencies of each direction; 7 makes 147 numbers of three channels.
        """

        side: int = 7

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.side < 1:
                raise ConfigError(f"side={self.side}; at least 1 frequency is expected")

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_frame("cosine", geometry)
        check_side("cosine", config.side, geometry)
        super().__init__(config, geometry=geometry, shape=(1, geometry.channels, config.side, config.side))
        scale = (geometry.height * geometry.width) ** 0.5 / config.side
        self.register_buffer("rows", cosine_basis(geometry.height)[: config.side] * scale, persistent=False)
        self.register_buffer("columns", cosine_basis(geometry.width)[: config.side], persistent=False)
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.rows: Tensor
        self.columns: Tensor
        self.mask: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # s Bᵀ W B, 1 x C x H x W
        pixels = self.rows.T @ self.weight @ self.columns
        return replace(framed, frame=framed.frame + torch.tanh(pixels * self.mask) / 2)
