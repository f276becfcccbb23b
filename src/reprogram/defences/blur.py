"""Images are blurred."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.defences.base import InputDefence, straight_through
from reprogram.errors import ConfigError
from reprogram.utils.seeding import Draws


class Blur(InputDefence):
    """Convolves each image with a normal distribution; pixels beyond an edge repeat the outermost ones.

    It is linear. Who knows it learns through it by the exact gradient; a program of low frequencies, such as
    `cosine(side=7)`, hardly changes.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            sigma: standard deviation in pixels, above 0, 50 at the most; the kernel ends at 3 of them.
        """

        sigma: float = 1.0

        def __post_init__(self) -> None:
            if not 0 < self.sigma <= 50:
                raise ConfigError(f"sigma={self.sigma}; pixels above 0, 50 at the most, are expected")

    @property
    def reach(self) -> int:
        """The kernel's radius."""
        return math.ceil(3 * float(self.config.sigma))

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """Blur along the columns, then along the rows."""
        radius, channels = self.reach, images.shape[1]
        # w_i = exp(-i² / 2σ²) / Σ, 2 r + 1
        offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        weights = torch.exp(-((offsets / self.config.sigma) ** 2) / 2)
        weights = (weights / weights.sum()).expand(channels, 1, -1)
        for shape, pad in (((-1, 1), (0, 0, radius, radius)), ((1, -1), (radius, radius, 0, 0))):
            padded = F.pad(images, pad, mode="replicate")
            images = F.conv2d(padded, weights.reshape(channels, 1, *_sizes(shape, 2 * radius + 1)), groups=channels)
        # Rounding alone leaves [0, 1]: a limit with a gradient of 0 there would hold back the pixels at its ends.
        return straight_through(images.clamp(0, 1), images)


def _sizes(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """A shape whose -1 is replaced by a size."""
    rows, columns = (size if side < 0 else side for side in shape)
    return rows, columns
