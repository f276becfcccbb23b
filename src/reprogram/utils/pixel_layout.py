"""Decoding by what a file's samples are: depth, sign, layout, colour map and transparent colour.

Pillow decides most of it; what it gets wrong in silence is decoded here, or refused with the reason, before it is
decoded. What comes out has a mode that says what its values are.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from reprogram.utils.deep_pixels import UnreadLayoutError, from_halves, rounded, set_raw_mode
from reprogram.utils.tiff_layout import decode_tiff


def decode(image: ImageFile.ImageFile) -> Image.Image:
    """Decode an image that is opened and not loaded yet.

    Args:
        image: as `PIL.Image.open` gives it.

    Returns:
        An image of 8 bits a sample, or of 16-bit grey (mode "I;16", "I;16B" or "I").

    Raises:
        UnreadLayoutError: the file's samples aren't of a kind that is read.
        OSError: the file is damaged; as is whatever else Pillow raises.
    """
    special = {"PNG": _png, "TIFF": decode_tiff, "BMP": _bmp, "PPM": _ppm}.get(image.format or "")
    picture = special(image) if special else image
    picture.load()
    return picture


def _png(image: ImageFile.ImageFile) -> Image.Image:
    raw_mode = str(image.tile[0][3])
    if raw_mode in ("RGB;16B", "LA;16B", "RGBA;16B"):
        return _png_of_16_bits(image, raw_mode)
    if image.mode == "P" and image.palette is not None and not image.palette.palette:
        raise UnreadLayoutError("its colour map is missing")
    transparency = image.info.get("transparency")
    if raw_mode in ("L", "L;2", "L;4") and isinstance(transparency, int):
        largest = {"L": 255, "L;2": 3, "L;4": 15}[raw_mode]  # The colour counts as the file's samples do, from 0.
        image.info["transparency"] = (transparency & largest) * 255 // largest
    elif raw_mode == "RGB" and isinstance(transparency, tuple):
        image.info["transparency"] = tuple(value & 255 for value in transparency)
    return image


def _png_of_16_bits(image: ImageFile.ImageFile, raw_mode: str) -> Image.Image:
    transparency = image.info.get("transparency")
    if raw_mode == "LA;16B":  # Four bytes a pixel: as if they were the samples of RGBA.
        set_raw_mode(image, "RGBA")
        image.load()
        return rounded(image.size, lambda box: _pairs(np.asarray(image.crop(box))), transparency)
    return from_halves(image, raw_mode.replace("16B", "16L"), transparency)


def _pairs(samples: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pairs of bytes, the higher one first, as numbers: ... × 2n to ... × n."""
    numbers: NDArray[np.uint32] = samples[..., ::2].astype(np.uint32) * 256 + samples[..., 1::2]
    return numbers


def _bmp(image: ImageFile.ImageFile) -> Image.Image:
    if image.mode in ("1", "L") and image.fp is not None:
        image.fp.seek(14)
        (size,) = struct.unpack("<L", image.fp.read(4))
        image.fp.seek(24 if size == 12 else 28)
        (bits,) = struct.unpack("<H", image.fp.read(2))
        if bits != {"1": 1, "L": 8}[image.mode]:
            raise UnreadLayoutError(f"its colour map of greys is shorter than its {bits} bits ask for")
    return image


def _ppm(image: ImageFile.ImageFile) -> Image.Image:
    if image.mode not in ("1", "L", "I", "RGB"):
        raise UnreadLayoutError("it is a PPM of a kind that is no standard, or of floating point")
    return image
