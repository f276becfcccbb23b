"""Fixed images by which a service is known again: another model answers them otherwise."""

import torch
from torch import Tensor

from reprogram.hosts._info import HostInfo
from reprogram.utils.quantize import nearest_8bit

MAX_DISTANCE = 0.1
"""The largest difference between two answers to a fixed image, of 1 in all, that isn't another model's."""


def fixed_images(count: int, info: HostInfo) -> Tensor:
    """Images of 4 x 4 coloured tiles, the same each time.

    Args:
        count: how many.
        info: the host's record.

    Returns:
        count × C × H × W, multiples of 1/255.
    """
    tiles = torch.rand(count, info.channels, 4, 4, generator=torch.Generator().manual_seed(0))
    return nearest_8bit(torch.nn.functional.interpolate(tiles, info.size))


def difference(first: Tensor, now: Tensor) -> float:
    """The largest total variation distance between two answers to an image, in [0, 1].

    Args:
        first: b × K scores.
        now: b × K scores of the same images.
    """
    # max over images of 1/2 sum |p - q|
    return float((first.softmax(dim=1) - now.softmax(dim=1)).abs().sum(1).max()) / 2
