"""Pixels are rounded to a few levels."""

from dataclasses import dataclass

from torch import Tensor

from reprogram.defences.base import InputDefence, straight_through
from reprogram.errors import ConfigError
from reprogram.utils.seeding import Draws


class BitDepth(InputDefence):
    """Rounds each pixel to one of 2^bits levels.

    Who knows it learns through it: the forward pass is rounded, and the gradient passes straight through. A program of
    few levels, such as black and white, isn't changed at all.

    Reference: Xu, Evans and Qi, Feature Squeezing, NDSS 2018, section III-A.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            bits: of each channel, 1 to 8.
        """

        bits: int = 3

        def __post_init__(self) -> None:
            if not 1 <= self.bits <= 8:
                raise ConfigError(f"bits={self.bits}; 1 to 8 are expected")

    @property
    def reach(self) -> int:
        """Each pixel for itself."""
        return 0

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """Round to the levels."""
        # round((2^bits - 1) x) / (2^bits - 1)
        top = 2**self.config.bits - 1
        return straight_through((images.detach() * top).round() / top, images)
