"""The frame program with a learned size of the task image."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs.base import DenseProgram

LIMIT = 4.0


class Zoom(DenseProgram):
    """The task image is scaled by a learned factor, and the program of `frame` fills the rest (AutoVP's scale).

    The window stays where it is: an image that grows is cut, one that shrinks leaves room to the program. To let an
    image grow to the whole canvas, choose the canvas `resize` and start below 1. The factor is 4^tanh(z), between 1/4
    and 4; the image is sampled bilinearly.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            scale: the factor at the start, between 1/4 and 4.
        """

        scale: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 1 / LIMIT < self.scale < LIMIT:
                raise ConfigError(f"scale={self.scale}; a number between 0.25 and 4 is expected")

    @classmethod
    def example(cls) -> Config:
        """The factor of AutoVP: a smaller image leaves room for the program inside the window, whatever the canvas."""
        return cls.Config(scale=0.57)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry)
        self.z = nn.Parameter(torch.tensor([math.atanh(math.log(config.scale, LIMIT))]))

    def scale(self) -> Tensor:
        """The factor 4^tanh(z), a tensor of one number."""
        return torch.exp(math.log(LIMIT) * torch.tanh(self.z))

    def run(self, framed: Framed) -> Framed:
        """Draw the program, and the task image over it."""
        # P = tanh(W) / 2, 1 x C x H x W, and its part inside the window
        drawn = torch.tanh(self.weight) / 2
        inside = drawn[..., framed.box.rows, framed.box.columns]
        background = framed.frame[..., framed.box.rows, framed.box.columns]
        image = self._resized(framed.window)
        # The share of each pixel that the image covers, 1 x 1 x h x w.
        covered = self._resized(torch.ones_like(framed.window[:1, :1]))
        return replace(framed, frame=framed.frame + drawn, window=image + (1 - covered) * (background + inside))

    def _resized(self, images: Tensor) -> Tensor:
        """Images scaled about the window's centre, 0 beyond their edges."""
        # 1 x 2 x 3: [I / scale, 0] maps a target pixel to its source
        theta = torch.eye(2, 3, dtype=images.dtype, device=images.device)[None] / self.scale()
        grid = F.affine_grid(theta, [1, *images.shape[1:]], align_corners=False)
        return F.grid_sample(images, grid.expand(images.shape[0], -1, -1, -1), align_corners=False)
