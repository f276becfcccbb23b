"""Images are made smaller and brought back to their size."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.defences.base import InputDefence, straight_through
from reprogram.errors import ConfigError
from reprogram.utils.seeding import Draws


class ResizeBack(InputDefence):
    """Shrinks each image by bilinear interpolation with antialiasing, and enlarges it again.

    It is linear. Who knows it learns through it by the exact gradient, or draws with few frequencies.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            scale: the sides in between, as a part of the image's, above 0 and below 1.
        """

        scale: float = 0.5

        def __post_init__(self) -> None:
            if not 0 < self.scale < 1:
                raise ConfigError(f"scale={self.scale}; a part above 0 and below 1 is expected")

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """Shrink and enlarge."""
        height, width = images.shape[2:]
        small = max(1, round(height * self.config.scale)), max(1, round(width * self.config.scale))
        pixels = images.to(torch.promote_types(images.dtype, torch.float32))  # CPUs resize no float16.
        shrunk = F.interpolate(pixels, small, mode="bilinear", antialias=True, align_corners=False)
        enlarged = F.interpolate(shrunk, (height, width), mode="bilinear", align_corners=False)
        # Rounding alone leaves [0, 1]: a limit with a gradient of 0 there would hold back the pixels at its ends.
        return straight_through(enlarged.clamp(0, 1), enlarged).to(images)
