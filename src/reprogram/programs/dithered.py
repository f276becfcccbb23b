"""The frame program under noise that is drawn anew for every query."""

from dataclasses import dataclass, replace

import torch

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._varied import VariedProgram, check_amplitude, noise_like


class Dithered(VariedProgram):
    """P = tanh(W) / 2 + noise, uniform from -eps to eps, in squares of `cell` pixels.

    No pixel of the frame repeats, which is what detectors that hash pixels look for. Noise of single pixels averages
    out; coarse noise changes the colours of whole regions.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(VariedProgram.Config):
        """Options.

        Attributes:
            eps: the noise's amplitude, in [0, 1] pixel units.
            cell: pixels of the side of a square of equal noise.
        """

        eps: float = 0.1
        cell: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            check_amplitude("eps", self.eps)
            if self.cell < 1:
                raise ConfigError(f"cell={self.cell}; at least 1 pixel is expected")

    @classmethod
    def example(cls) -> Config:
        """Every image with its own noise."""
        return cls.Config(shared=False)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry)

    def look(self, framed: Framed, generator: torch.Generator) -> Framed:
        """Add program and noise to the frame."""
        noise = noise_like(framed.frame, self.config.eps, self.config.cell, generator)
        return replace(framed, frame=framed.frame + torch.tanh(self.weight) / 2 + noise)
