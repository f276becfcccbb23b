"""The frame program on a given number of pixels: the 2018 paper's limited size."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reprogram.framed import Framed, Geometry
from reprogram.permutation import permutation
from reprogram.programs.base import Weighted, check_pixels, require_pixels

Where = Literal["outermost", "innermost", "random"]


class Sized(Weighted):
    """P = tanh(W) / 2 on N pixels of the frame, 0 elsewhere (the paper's experiment on the program's size).

    All channels of a pixel count as one pixel. Among pixels that are equally far out the seed chooses.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Weighted.Config):
        """Options.

        Attributes:
            pixels: N, how many.
            where: `outermost` are nearest to the canvas's edge, `innermost` nearest to the task image, `random` are
                drawn from the whole frame.
            seed: of the choice.
        """

        pixels: int = 1000
        where: Where = "outermost"
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_pixels(self.pixels)

    @classmethod
    def example(cls) -> Config:
        """Pixels that small canvases have."""
        return cls.Config(pixels=300)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_pixels("sized", config.pixels, geometry)
        super().__init__(config, geometry=geometry, shape=(1, geometry.channels, config.pixels))
        places = chosen(geometry, config.where, config.seed)[: config.pixels]
        self.register_buffer("places", places, persistent=False)
        self.places: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the chosen pixels."""
        frame = framed.frame.flatten(2).index_add(2, self.places, torch.tanh(self.weight) / 2)
        return replace(framed, frame=frame.view_as(framed.frame))


def chosen(geometry: Geometry, where: Where, seed: int) -> Tensor:
    """All pixels of the frame as indices y · W + x, those to be chosen first at the head."""
    rows, columns = torch.arange(geometry.height)[:, None], torch.arange(geometry.width)[None]
    window = geometry.window
    if where == "outermost":
        far = torch.minimum(
            torch.minimum(rows, geometry.height - 1 - rows), torch.minimum(columns, geometry.width - 1 - columns)
        )
    elif where == "innermost":
        above = torch.maximum(window.top - rows, rows - window.rows.stop + 1)
        beside = torch.maximum(window.left - columns, columns - window.columns.stop + 1)
        far = torch.maximum(above, beside)
    else:
        far = torch.zeros(geometry.height, geometry.width, dtype=torch.int64)
    frame = geometry.mask().flatten().nonzero()[:, 0]
    shuffled = frame[permutation(len(frame), seed)]
    return shuffled[far.flatten()[shuffled].argsort(stable=True)]
