"""Images moved by some pixels, in both directions; their edges are continued."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation
from reprogram.errors import ConfigError

MAX_PIXELS = 4_096


class Shift(Augmentation):
    """Each image moves by a whole number of pixels from -p to p, drawn for its height and for its width.

    Pixels from beyond an edge repeat the outermost ones.
    """

    numbers = 2

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            pixels: p, the largest shift in pixels of the task image.
        """

        pixels: int = 2

        def __post_init__(self) -> None:
            if not 1 <= self.pixels <= MAX_PIXELS:
                raise ConfigError(f"pixels={self.pixels}; 1 to {MAX_PIXELS:,} are expected")

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Move each image by its own number of rows and columns."""
        height, width = images.shape[2:]
        # b x 2 whole numbers, uniform from -p to p
        shifts = (chance * (2 * self.config.pixels + 1)).long() - self.config.pixels
        # b x h and b x w: the row and the column that each pixel comes from
        rows, columns = (
            (torch.arange(size, device=images.device) - shifts[:, [axis]]).clamp(0, size - 1)
            for axis, size in enumerate((height, width))
        )
        indices = torch.arange(len(images), device=images.device)[:, None, None]
        return images.movedim(1, -1)[indices, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
