"""Images moved by some pixels, in both directions; their edges are continued."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation
from reprogram.errors import ConfigError

MAX_PIXELS = 4_096


class Shift(Augmentation):
    """Each image moves by a whole number of pixels from -p to p, drawn for its height and for its width.

    What moves in from outside repeats the outermost pixels.
    """

    numbers = 2

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            pixels: p, of the task image.
        """

        pixels: int = 2

        def __post_init__(self) -> None:
            if not 1 <= self.pixels <= MAX_PIXELS:
                raise ConfigError(f"pixels={self.pixels}; 1 to {MAX_PIXELS:,} are expected")

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Read every pixel from where it comes from."""
        height, width = images.shape[2:]
        by = (chance * (2 * self.config.pixels + 1)).long() - self.config.pixels
        rows, columns = (
            (torch.arange(size, device=images.device) - by[:, [axis]]).clamp(0, size - 1)
            for axis, size in enumerate((height, width))
        )
        place = torch.arange(len(images), device=images.device)[:, None, None]
        return images.movedim(1, -1)[place, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
