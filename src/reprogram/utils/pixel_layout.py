"""Decoding by what a file's samples are: depth, sign, layout, colour map and transparent colour.

Pillow decides most of it; what it gets wrong in silence is decoded here, or refused with the reason, before it is
decoded. What comes out has a mode that says what its values are.
"""

import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImagePalette

from reprogram.utils.orientation import ORIENTATION, turned

# The tags of a TIFF file that say what its samples are.
_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _BIT_ORDER, _PLANES = 254, 258, 259, 262, 266, 284
_COLOUR_MAP, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 320, 338, 339

CHUNK = 2**18
"""Pixels of more than 8 bits that are converted at once."""


class UnreadLayoutError(ValueError):
    """The pixels are laid out in a way that isn't read; the message says in which."""


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
    special = {"PNG": _png, "TIFF": _tiff, "BMP": _bmp, "PPM": _ppm}.get(image.format or "")
    picture = special(image) if special else image
    picture.load()
    return picture


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
        _set_raw_mode(image, "RGBA")
        image.load()
        return _rounded(image.size, lambda box: _pairs(np.asarray(image.crop(box))), transparency)
    return _from_halves(image, raw_mode.replace("16B", "16L"), transparency)


def _from_halves(image: ImageFile.ImageFile, lower: str, transparency: Any = None) -> Image.Image:
    """Colour of 16 bits a sample, rounded to 8: Pillow keeps the byte that the raw mode says, so it decodes twice.

    Args:
        image: the opened image, of which Pillow keeps the higher bytes.
        lower: the raw mode that keeps the lower ones.
        transparency: the colour that is transparent, if any.
    """
    assert image.fp is not None
    image.fp.seek(0)
    with Image.open(image.fp, formats=[image.format or ""]) as other:
        assert isinstance(other, ImageFile.ImageFile)
        _set_raw_mode(other, lower)
        for part in (other, image):  # The file may be closed when its image is loaded.
            if "load_end" in vars(image):
                _keep_from_turning(part)
            part.load()

        def values(box: tuple[int, int, int, int]) -> NDArray[np.uint32]:
            higher_bytes, lower_bytes = (np.asarray(part.crop(box)) for part in (image, other))
            samples: NDArray[np.uint32] = higher_bytes.astype(np.uint32) * 256 + lower_bytes
            return samples

        return _rounded(image.size, values, transparency)


def _set_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]


def _keep_from_turning(image: ImageFile.ImageFile) -> None:
    """Leave a TIFF file as it is stored: Pillow would turn it, and read all other tags, of which some may be odd."""
    vars(image)["load_end"] = lambda: setattr(image, "_size", image.im.size)


def _pairs(samples: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pairs of bytes, the higher one first, as numbers: ... × 2n to ... × n."""
    numbers: NDArray[np.uint32] = samples[..., ::2].astype(np.uint32) * 256 + samples[..., 1::2]
    return numbers


def _rounded(
    size: tuple[int, int], values: Callable[[tuple[int, int, int, int]], NDArray[np.uint32]], transparency: Any
) -> Image.Image:
    """An image of 8 bits from samples of 16 bits, what is transparent laid over white.

    Args:
        size: width and height, in pixels.
        values: gives the h × w × (1 to 4) samples in a box; 2 and 4 of them end with alpha.
        transparency: the colour that is transparent, if any.
    """
    width, height = size
    rows, strips = max(1, CHUNK // width), []
    for top in range(0, height, rows):
        strip = values((0, top, width, min(top + rows, height)))
        colour = strip
        if strip.shape[2] in (2, 4):
            alpha = strip[..., -1:] / 65535
            colour = strip[..., :-1]
            strips.append(np.rint((colour * alpha + 65535 * (1 - alpha)) / 257).astype(np.uint8))
            continue
        strips.append(levels_of(colour))
        if transparency is not None:
            strips[-1][(colour == np.array(transparency)).all(axis=2)] = 255
    levels = np.concatenate(strips)
    return Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0])


def _tiff(image: ImageFile.ImageFile) -> Image.Image:
    tags = image.tag_v2  # type: ignore[attr-defined]
    _refuse_unread_tiff(tags, image.mode)
    photometric, bits = tags.get(_PHOTOMETRIC), tags.get(_BITS, (1,))[0]
    unusual = tags.get(_PLANES, 1) == 2 or photometric == 6 or tags.get(_BIT_ORDER, 1) == 2
    if image.info.get("compression") == "raw" and unusual:
        # Pillow's own decoder mixes planes of 16 bits and YCbCr of halved chroma. libtiff, which decodes what is
        # compressed, doesn't, and sees in the file itself that this isn't.
        tags[_COMPRESSION] = 5
        image._setup()  # type: ignore[attr-defined]
    if image.mode in ("P", "PA"):
        image.palette = ImagePalette.raw("RGB;L", _colour_map(tags.get(_COLOUR_MAP, ()), bits))
    _keep_from_turning(image)
    picture: Image.Image = image
    raw_mode = image.tile[0].args[0] if isinstance(image.tile[0].args, tuple) else ""
    if tags.get(_PLANES, 1) == 1 and raw_mode[:-1] in ("RGB;16", "RGBX;16", "RGBA;16"):
        higher = raw_mode[-1] if raw_mode[-1] != "N" else {"little": "L", "big": "B"}[sys.byteorder]
        picture = _from_halves(image, raw_mode[:-1] + {"L": "B", "B": "L"}[higher])
    image.load()
    if image.mode.startswith("I"):
        grey = levels_of(np.asarray(image), 2**bits - 1)
        picture = Image.fromarray(255 - grey if photometric == 0 else grey)
    return turned(picture, tags.get(ORIENTATION))


def _refuse_unread_tiff(tags: Any, mode: str) -> None:
    photometric, bits = tags.get(_PHOTOMETRIC), tags.get(_BITS, (1,))
    formats, extra = set(tags.get(_SAMPLE_FORMAT, (1,))), set(tags.get(_EXTRA_SAMPLES, ()))
    reason = None
    if tags.get(_SUBFILE_TYPE, 0) & 1:
        reason = "its first page is a thumbnail of another one, as camera makers' raw files have it"
    elif formats != {1}:
        kind = {2: "signed integers", 3: "floating point"}.get(max(formats), "of no known kind")
        reason = f"its samples are {kind}, which have no fixed range"
    elif max(bits) > 16:
        reason = f"its samples are integers of {max(bits)} bits, of which no range is known"
    elif photometric is None and tags.get(_COMPRESSION, 1) not in (2, 3, 4, 6, 7):
        reason = "it doesn't say what its samples mean (no PhotometricInterpretation)"
    elif mode == "LAB":
        reason = "its colours are CIE L*a*b*"
    elif tags.get(_PLANES, 1) == 2 and (
        1 in extra or mode in ("LA", "La", "PA") or (mode == "RGBA" and max(bits) == 16)
    ):
        reason = "its alpha is a plane of its own"
    if reason is not None:
        raise UnreadLayoutError(reason)


def _colour_map(values: tuple[int, ...], bits: int) -> bytes:
    """The colour map of a TIFF file in 8 bits: all red values, then green, then blue."""
    if len(values) != 3 * 2**bits:
        raise UnreadLayoutError(f"its colour map has {len(values)} values, {3 * 2**bits} are expected")
    if max(values) < 256:  # Old writers give 8 bits where the format asks for 16, as libtiff knows, too.
        return bytes(values)
    return levels_of(np.array(values)).tobytes()


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
