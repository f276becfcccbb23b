"""Photographs as hosts expect them: resized by the shorter side, and cut to the centre."""

import math
from pathlib import Path

from PIL import Image
from torch import Tensor

from reprogram.utils.images import read, to_tensor

MAX_RATIO = 16
"""A photograph that is more times as long as wide is cut to its middle before it is resized by its shorter side."""
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


def photograph(
    path: str | Path, *, size: tuple[int, int], crop: float, interpolation: str, channels: int = 3
) -> Tensor:
    """A photograph as a host expects it: the shorter side is resized to size / crop, then the centre is cut out.

    Args:
        path: the image file.
        size: H and W of the host's input, in pixels.
        crop: the part of the resized shorter side that the host sees, above 0 and at most 1.
        interpolation: a key of `RESAMPLING`; any other stands for "bicubic".
        channels: 1 or 3.

    Returns:
        1 × channels × H × W pixels in [0, 1].

    Raises:
        DataError: the file can't be read.
    """
    return as_photograph(read(path), size=size, crop=crop, interpolation=interpolation, channels=channels)


def as_photograph(
    image: Image.Image, *, size: tuple[int, int], crop: float, interpolation: str, channels: int = 3
) -> Tensor:
    """The same of an image that was read.

    Args:
        image: 8-bit grey or RGB.
        size: as for `photograph`.
        crop: as for `photograph`.
        interpolation: as for `photograph`.
        channels: 1 or 3.

    Returns:
        1 × channels × H × W pixels in [0, 1].
    """
    image = image.convert("L" if channels == 1 else "RGB")
    height, width = size
    side = math.floor(max(height, width) / crop)
    shorter = min(image.size)
    if max(image.size) > (most := MAX_RATIO * shorter):
        left, top = (max(0, side - most) // 2 for side in image.size)
        image = image.crop((left, top, left + min(image.width, most), top + min(image.height, most)))
    resized = image.resize(
        (math.floor(image.width * side / shorter), math.floor(image.height * side / shorter)),
        RESAMPLING.get(interpolation, Image.Resampling.BICUBIC),
    )
    left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
    return to_tensor(resized.crop((left, top, left + width, top + height)), channels)[None].float() / 255
