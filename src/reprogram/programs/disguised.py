"""The frame program with all that hides it: it moves, and fine and coarse noise is added, anew for every query."""

from dataclasses import dataclass, replace

import torch

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._varied import VariedProgram, check_amplitude, check_moves, moved, noise_like


class Disguised(VariedProgram):
    """`jittered`, with noise of single pixels (`eps`) and of squares of `cell` pixels (`sway`).

    Moves hide it from what looks for the same pixels in the same places, fine noise from what looks for the same pixels
    anywhere, and coarse noise from what looks for regions that stand still.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(VariedProgram.Config):
        """Options.

        Attributes:
            pixels: the farthest move in each direction, in pixels.
            eps: the fine noise's amplitude, in [0, 1] pixel units.
            sway: the coarse noise's amplitude, in [0, 1] pixel units.
            cell: pixels of the side of a square of equal coarse noise.
        """

        pixels: int = 8
        eps: float = 0.06
        sway: float = 0.2
        cell: int = 24

        def __post_init__(self) -> None:
            super().__post_init__()
            check_amplitude("eps", self.eps)
            check_amplitude("sway", self.sway)
            if self.cell < 1:
                raise ConfigError(f"cell={self.cell}; at least 1 pixel is expected")

    @classmethod
    def example(cls) -> Config:
        """Moves that fit a small canvas."""
        return cls.Config(pixels=3, shared=False)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        check_moves("disguised", config.pixels, geometry)
        channels, height, width = geometry.shape
        shape = (1, channels, height + 2 * config.pixels, width + 2 * config.pixels)
        super().__init__(config, geometry=geometry, shape=shape)

    def look(self, framed: Framed, generator: torch.Generator) -> Framed:
        """Move frame and window, and add the noise to the frame."""
        drawn = moved(framed, torch.tanh(self.weight) / 2, self.config.pixels, generator)
        fine = noise_like(drawn.frame, self.config.eps, 1, generator)
        coarse = noise_like(drawn.frame, self.config.sway, self.config.cell, generator)
        return replace(drawn, frame=drawn.frame + fine + coarse)
