"""The frame program on a given number of pixels: the 2018 paper's limited size."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reprogram.framed import Framed, Geometry
from reprogram.programs._pixels import PixelProgram
from reprogram.programs.base import require_pixels
from reprogram.utils.seeding import permutation

Where = Literal["outermost", "innermost", "random"]


class Sized(PixelProgram):
    """P = tanh(W) / 2 on N pixels of the frame, 0 elsewhere (the paper's experiment on the program's size).

    All channels of a pixel count as one pixel. The seed chooses among pixels that are equally far out.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelProgram.Config):
        """Options.

        Attributes:
            where: `outermost` are nearest to the canvas's edge, `innermost` nearest to the task image, `random` are
                drawn from the whole frame.
            seed: decides the choice.
        """

        where: Where = "outermost"
        seed: int = 0

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_pixels("sized", config.pixels, geometry)
        super().__init__(config, geometry=geometry, shape=(1, geometry.channels, config.pixels))
        indices = _ranked(geometry, config.where, config.seed)[: config.pixels]
        self.register_buffer("places", indices, persistent=False)
        self.places: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the chosen pixels."""
        # 1 x C x (H · W), with P = tanh(W) / 2 added in N columns
        frame = framed.frame.flatten(2).index_add(2, self.places, torch.tanh(self.weight) / 2)
        return replace(framed, frame=frame.view_as(framed.frame))


def _ranked(geometry: Geometry, where: Where, seed: int) -> Tensor:
    """The indices y · W + x of all pixels of the frame, those that are chosen first at the head."""
    rows, columns = torch.arange(geometry.height)[:, None], torch.arange(geometry.width)[None]
    window = geometry.window
    # H x W distances: the smaller, the earlier a pixel is chosen.
    if where == "outermost":
        distance = torch.minimum(
            torch.minimum(rows, geometry.height - 1 - rows), torch.minimum(columns, geometry.width - 1 - columns)
        )
    elif where == "innermost":
        above = torch.maximum(window.top - rows, rows - window.rows.stop + 1)
        beside = torch.maximum(window.left - columns, columns - window.columns.stop + 1)
        distance = torch.maximum(above, beside)
    else:
        distance = torch.zeros(geometry.height, geometry.width, dtype=torch.int64)
    frame = geometry.mask().flatten().nonzero()[:, 0]
    shuffled = frame[permutation(len(frame), seed)]
    return shuffled[distance.flatten()[shuffled].argsort(stable=True)]
