"""The frame program in coarse tiles of one colour each: a few numbers for learners that only ask."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._subspace import check_side
from reprogram.programs.base import DenseProgram, require_frame


class Tiles(DenseProgram):
    """P = tanh(W↑) / 2 on the frame, as `frame`, with W↑ of the canvas's size from C × N × N numbers W."""

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            side: N, tiles from edge to edge; 7 makes 147 numbers of three channels.
        """

        side: int = 7

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.side < 1:
                raise ConfigError(f"side={self.side}; at least 1 tile is expected")

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_frame("tiles", geometry)
        check_side("tiles", config.side, geometry)
        super().__init__(config, geometry=geometry, shape=(1, geometry.channels, config.side, config.side))
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # 1 x C x N x N to 1 x C x H x W
        pixels = F.interpolate(self.weight, size=tuple(framed.frame.shape[2:]), mode="nearest-exact")
        return replace(framed, frame=framed.frame + torch.tanh(pixels * self.mask) / 2)
