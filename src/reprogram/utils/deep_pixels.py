"""Samples of more than 8 bits, which Pillow would cut to their higher byte, and what is transparent over white."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

CHUNK = 2**18
"""Pixels of more than 8 bits that are converted at once."""

Alpha = Literal["straight", "multiplied", "none"]
"""What the last sample of a pixel is: how opaque it is, the same with the colour multiplied by it, or ink."""


class UnreadLayoutError(ValueError):
    """The pixels are laid out in a way that isn't read; the message says in which."""


def levels_of(values: NDArray[Any], largest: int = 65535) -> NDArray[np.uint8]:
    """Whole numbers as the nearest of 256 levels.

    Args:
        values: of any shape, in [0, largest].
        largest: the value of white, at most 65535.

    Returns:
        The same shape: values × 255 / largest, rounded; there is never a tie, for every such white is odd.
    """
    levels = values.astype(np.uint32)
    levels *= 255
    levels += largest // 2
    levels //= largest
    return levels.astype(np.uint8)


def from_halves(
    image: ImageFile.ImageFile, lower: str, transparency: Any = None, alpha: Alpha = "straight"
) -> Image.Image:
    """Colour of 16 bits a sample, rounded to 8: Pillow keeps the byte that the raw mode says, so it decodes twice.

    Args:
        image: the opened image, of which Pillow keeps the higher bytes.
        lower: the raw mode that keeps the lower ones.
        transparency: the colour that is transparent, if any.
        alpha: what the last of four samples is.
    """
    assert image.fp is not None
    image.fp.seek(0)
    with Image.open(image.fp, formats=[image.format or ""]) as other:
        assert isinstance(other, ImageFile.ImageFile)
        set_raw_mode(other, lower)
        for part in (other, image):  # The file may be closed when its image is loaded.
            if "load_end" in vars(image):
                keep_from_turning(part)
            part.load()

        def values(box: tuple[int, int, int, int]) -> NDArray[np.uint32]:
            higher_bytes, lower_bytes = (np.asarray(part.crop(box)) for part in (image, other))
            samples: NDArray[np.uint32] = higher_bytes.astype(np.uint32) * 256 + lower_bytes
            return samples

        return rounded(image.size, values, transparency, alpha)


def set_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    """Have Pillow decode an opened image by another of its raw modes.

    Args:
        image: the opened image.
        raw_mode: Pillow's name of how the samples lie in the file.
    """
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]


def keep_from_turning(image: ImageFile.ImageFile) -> None:
    """Leave a TIFF file as it is stored: Pillow would turn it, and read all other tags, of which some may be odd.

    Args:
        image: the opened image.
    """
    vars(image)["load_end"] = lambda: setattr(image, "_size", image.im.size)


def rounded(
    size: tuple[int, int],
    values: Callable[[tuple[int, int, int, int]], NDArray[np.uint32]],
    transparency: Any = None,
    alpha: Alpha = "straight",
) -> Image.Image:
    """An image of 8 bits from samples of 16 bits, what is transparent laid over white.

    Args:
        size: width and height, in pixels.
        values: gives the h × w × (1 to 4) samples in a box; 2 and 4 of them end with alpha, unless there is none.
        transparency: the colour that is transparent, if any.
        alpha: what the last of two or four samples is; four without alpha are CMYK.
    """
    width, height = size
    rows, levels = max(1, CHUNK // width), np.empty((0, 0, 0), dtype=np.uint8)
    for top in range(0, height, rows):
        strip = values((0, top, width, min(top + rows, height)))
        if strip.shape[2] in (2, 4) and alpha != "none":
            done = over_white(strip[..., :-1], strip[..., -1:], alpha)
        else:
            done = levels_of(strip)
            if transparency is not None:
                done[(strip == np.array(transparency)).all(axis=2)] = 255
        levels = levels if top else np.empty((height, width, done.shape[2]), dtype=np.uint8)
        levels[top : top + rows] = done
    if levels.shape[2] == 4:
        return Image.fromarray(levels, "CMYK").convert("RGB")
    return Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0])


def over_white(
    colour: NDArray[Any], opacity: NDArray[Any], alpha: Alpha = "straight", largest: int = 65535
) -> NDArray[np.uint8]:
    """Colours over white, as the nearest of 256 levels.

    Args:
        colour: ... × c samples in [0, largest].
        opacity: ... × 1 in [0, largest].
        alpha: "multiplied" where the colours are multiplied by their opacity already, else "straight".
        largest: the value of white, and of what is opaque.
    """
    part = opacity / largest
    shown = colour if alpha == "multiplied" else colour * part
    # shown + white · (1 - part), in 255 levels
    return np.rint(np.minimum(shown + largest * (1 - part), largest) * (255 / largest)).astype(np.uint8)
