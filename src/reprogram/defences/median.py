"""Each pixel is replaced by the median of its surroundings."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from reprogram.defences.base import InputDefence
from reprogram.errors import ConfigError
from reprogram.utils.seeding import Draws


class Median(InputDefence):
    """The median filter, channel by channel; pixels beyond an edge repeat the outermost ones.

    Who knows it learns through it. The gradient goes to the pixels that are the medians, which is exact almost
    everywhere; a program of flat patches wider than the filter, such as `tiles`, hardly changes.

    Reference: Xu, Evans and Qi, Feature Squeezing, NDSS 2018, section III-B.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            size: of the square that the median is taken of, in pixels; odd, 3 to 31.
        """

        size: int = 3

        def __post_init__(self) -> None:
            if self.size not in range(3, 32, 2):
                raise ConfigError(f"size={self.size}; an odd number from 3 to 31 is expected")

    @property
    def reach(self) -> int:
        """Half of the square."""
        return int(self.config.size) // 2

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """The medians."""
        size, reach = self.config.size, self.reach
        padded = F.pad(images, (reach,) * 4, mode="replicate")
        # b x C x H x W x size²: the square around each pixel
        squares = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
        medians: Tensor = squares.median(dim=4).values
        return medians
