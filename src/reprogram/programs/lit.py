"""The frame program in another light for every query: contrast and colour are drawn anew."""

from dataclasses import dataclass, replace

import torch

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._varied import VariedProgram, check_amplitude, check_moves, moved


class Lit(VariedProgram):
    """P = c tanh(W) / 2 + o, with a contrast c from `contrast` to 1 and an offset o of each channel, drawn anew.

    o is uniform from -colour to colour. No pixel and no cell of the frame keeps its colour, which is what detectors of
    still ones look for; the host has to bear with other brightness and tint. With `pixels` the frame moves too, as in
    `jittered`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(VariedProgram.Config):
        """Options.

        Attributes:
            contrast: the least contrast, in [0, 1]; 1 changes nothing.
            colour: the largest offset of a channel, in [0, 1] pixel units.
            pixels: the farthest move in each direction, in pixels; 0 for none.
        """

        contrast: float = 0.5
        colour: float = 0.25
        pixels: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.contrast <= 1:
                raise ConfigError(f"contrast={self.contrast}; from 0 to 1 is expected")
            check_amplitude("colour", self.colour)

    @classmethod
    def example(cls) -> Config:
        """Every image in its own light."""
        return cls.Config(shared=False)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        if config.pixels:
            check_moves("lit", config.pixels, geometry)
        channels, height, width = geometry.shape
        shape = (1, channels, height + 2 * config.pixels, width + 2 * config.pixels)
        super().__init__(config, geometry=geometry, shape=shape)

    def look(self, framed: Framed, generator: torch.Generator) -> Framed:
        """Add the program in one light, and move it where that was asked for."""
        config, channels = self.config, framed.frame.shape[1]
        contrast = config.contrast + (1 - config.contrast) * float(torch.rand(1, generator=generator))
        offset = config.colour * (2 * torch.rand(1, channels, 1, 1, generator=generator) - 1)
        # c tanh(W) / 2 + o, 1 x C x H x W
        pattern = contrast * torch.tanh(self.weight) / 2 + offset.to(self.weight)
        if config.pixels:
            return moved(framed, pattern, config.pixels, generator)
        return replace(framed, frame=framed.frame + pattern)
