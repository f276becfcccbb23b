"""A learned rectangle at a given or random place of the canvas; it covers what is under it."""

from dataclasses import dataclass
from typing import Literal

import torch

from reprogram.errors import ConfigError
from reprogram.framed import Box, Framed, Geometry
from reprogram.programs.base import DenseProgram, check_box
from reprogram.registry import added_later


class Patch(DenseProgram):
    """A patch of pixels (1 + tanh W) / 2 that replaces the canvas (adversarial patch; Brown et al., 2017).

    The program is confined when the patch doesn't overlap the task image.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            top: first row, in pixels.
            left: first column, in pixels.
            height: number of rows, in pixels.
            width: number of columns, in pixels.
            place: `given` by top and left, or `random`: anywhere on the canvas, as the seed says.
            seed: decides a random place.
        """

        top: int = 0
        left: int = 0
        height: int = 32
        width: int = 32
        place: Literal["given", "random"] = added_later("given")
        seed: int = added_later(0)

        def __post_init__(self) -> None:
            check_box(self.top, self.left, self.height, self.width)
            super().__post_init__()

    @classmethod
    def example(cls) -> Config:
        """A patch that fits small canvases."""
        return cls.Config(height=8, width=8)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        box = _box_of(config, geometry)
        if not box.within(geometry.height, geometry.width):
            raise ConfigError(
                f"patch: {config.height}x{config.width} pixels at ({box.top}, {box.left}) "
                f"reach out of the canvas of {geometry.height}x{geometry.width}; move it or make it smaller"
            )
        super().__init__(config, geometry=geometry, shape=(1, geometry.channels, config.height, config.width))
        self.box = box
        self.overlap = self.box.intersection(geometry.window)
        self.confined = self.overlap is None

    def run(self, framed: Framed) -> Framed:
        """Lay the patch over frame and window."""
        # (1 + tanh W) / 2, 1 x C x height x width
        patch = (1 + torch.tanh(self.weight)) / 2
        frame = framed.frame.clone()
        frame[..., self.box.rows, self.box.columns] = patch
        if self.overlap is None:
            return Framed(frame=frame, window=framed.window, box=framed.box)
        window = framed.window.clone()
        target = self.overlap.relative_to(framed.box)
        source = self.overlap.relative_to(self.box)
        window[..., target.rows, target.columns] = patch[..., source.rows, source.columns]
        return Framed(frame=frame, window=window, box=framed.box)


def _box_of(config: Patch.Config, geometry: Geometry) -> Box:
    """The box that the patch covers; a random one that is too large for the canvas lies at the upper left."""
    top, left = config.top, config.left
    if config.place == "random":
        generator = torch.Generator().manual_seed(config.seed)
        room = geometry.height - config.height, geometry.width - config.width
        top, left = (int(torch.randint(max(r, 0) + 1, (1,), generator=generator)) for r in room)
    return Box(top=top, left=left, height=config.height, width=config.width)
