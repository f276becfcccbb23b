"""The frame program, moved with its task image by some pixels from query to query."""

from dataclasses import dataclass

import torch

from reprogram.framed import Framed, Geometry
from reprogram.programs._varied import VariedProgram, check_moves, moved


class Jittered(VariedProgram):
    """P = tanh(W) / 2 on a canvas that is larger by `pixels` on each side, of which each query shows another part.

    Nothing stands in the same place in two queries, which is what detectors of repeated pixels look for. A
    convolutional host sees nearly the same.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(VariedProgram.Config):
        """Options.

        Attributes:
            pixels: the farthest move in each direction, in pixels.
        """

        pixels: int = 8

    @classmethod
    def example(cls) -> Config:
        """Moves that fit a small canvas."""
        return cls.Config(pixels=3, shared=False)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        check_moves("jittered", config.pixels, geometry)
        channels, height, width = geometry.shape
        shape = (1, channels, height + 2 * config.pixels, width + 2 * config.pixels)
        super().__init__(config, geometry=geometry, shape=shape)

    def look(self, framed: Framed, generator: torch.Generator) -> Framed:
        """Move frame and window."""
        return moved(framed, torch.tanh(self.weight) / 2, self.config.pixels, generator)
