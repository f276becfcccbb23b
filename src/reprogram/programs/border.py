"""A learned border at the edge of the canvas, over whatever is there."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import Box, Framed, Geometry
from reprogram.programs.base import DenseProgram


class Border(DenseProgram):
    """P = tanh(W) / 2 on the outermost pixels: the padding prompt of visual prompting (Bahng et al., 2022).

    With the canvas `resize` the border is added to the edge of the enlarged task image. The program is confined when
    the border doesn't overlap the task image.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            thickness: the width of the border, in pixels.
        """

        thickness: int = 30

    @classmethod
    def example(cls) -> Config:
        """A border that fits small canvases."""
        return cls.Config(thickness=4)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        t, height, width = config.thickness, geometry.height, geometry.width
        if t < 1:
            raise ConfigError(f"border: thickness={t}; at least 1 is expected")
        if t >= min(height, width) / 2:
            raise ConfigError(f"border: thickness={t} doesn't fit a canvas of {height}x{width}; make it smaller")
        super().__init__(config, geometry=geometry)
        inner = Box(top=t, left=t, height=height - 2 * t, width=width - 2 * t)
        self.confined = geometry.window.intersection(inner) == geometry.window
        mask = torch.ones(1, 1, height, width)
        mask[..., inner.rows, inner.columns] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.mask: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """Draw W ~ N(0, init²), and set it to 0 where it has no effect."""
        super().initialize(generator)
        with torch.no_grad():
            self.weight.mul_(self.mask)

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame, and to the window where it reaches there."""
        # P = tanh(W ⊙ M) / 2, 1 x C x H x W
        drawn = torch.tanh(self.weight * self.mask) / 2
        result = replace(framed, frame=framed.frame + drawn)
        if self.confined:
            return result
        return replace(result, window=framed.window + drawn[..., framed.box.rows, framed.box.columns])
