"""Windows bitmaps of bit fields, of 2 bits and of odd palettes: Pillow refuses many, and leaves out some alpha."""

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reprogram.utils.deep_pixels import CHUNK, levels_of, over_white

_HEADERS = (40, 52, 56, 108, 124)
"""Sizes of the headers that say how the pixels lie in the same places."""
_PLAIN = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
"""The bit fields of red, green, blue and alpha where the file names none."""


def decode_bitmap(file: BinaryIO, most_pixels: int) -> Image.Image | None:
    """Decode a bitmap of 16 or 32 bits a pixel, or of 2, or with fewer or more colours than its bits ask for.

    Args:
        file: the file, at its beginning.
        most_pixels: the most that are decoded.

    Returns:
        8-bit grey or RGB, what is transparent laid over white; None for every other file.

    Raises:
        OSError: the file is shorter than its header says.
    """
    head = file.read(70)
    if len(head) < 54 or head[:2] != b"BM":
        return None
    offset, header, width, height, _, bits, compression = struct.unpack_from("<LLllHHL", head, 10)
    if header not in _HEADERS or width < 1 or not 0 < width * abs(height) <= most_pixels:
        return None
    fields = _fields(head, header, bits, compression)
    (num_colours,) = struct.unpack_from("<L", head, 46)
    odd_palette = compression == 0 and (bits == 2 or (bits in (1, 4, 8) and num_colours not in (0, 2**bits)))
    if fields is None and not odd_palette:
        return None
    palette = _palette(file, 14 + header, offset, num_colours, 2**bits) if fields is None else None
    stride = (width * bits + 31) // 32 * 4
    file.seek(offset)
    content = file.read(stride * abs(height))
    if len(content) < stride * abs(height):
        raise OSError("image file is truncated")
    rows = np.frombuffer(content, dtype=np.uint8).reshape(abs(height), stride)
    rows = rows[::-1] if height > 0 else rows
    count, levels = max(1, CHUNK // width), np.empty((len(rows), width, 3), dtype=np.uint8)
    for top in range(0, len(rows), count):
        strip = np.ascontiguousarray(rows[top : top + count])
        if fields is None:
            assert palette is not None
            shifts = range(8 - bits, -1, -bits)
            indices = np.stack([strip >> shift & (2**bits - 1) for shift in shifts], axis=2).reshape(len(strip), -1)
            levels[top : top + count] = palette[indices[:, :width]]
        else:
            pixels = strip.view("<u2" if bits == 16 else "<u4")[:, :width]
            levels[top : top + count] = _colours(pixels, fields)
    ramp = palette is not None and (palette == np.linspace(0, 255, 2**bits)[:, None]).all()
    return Image.fromarray(np.ascontiguousarray(levels[..., 0]) if ramp else levels)


def _fields(head: bytes, header: int, bits: int, compression: int) -> tuple[int, ...] | None:
    """The bit fields of red, green, blue and alpha; None where pixels have none, or odd ones."""
    if bits not in _PLAIN or compression not in (0, 3, 6):
        return None
    fields = _PLAIN[bits]
    if compression:
        with_alpha = compression == 6 or header >= 56
        fields = struct.unpack_from("<4L", head.ljust(70, b"\0"), 54)
        fields = fields if with_alpha else (*fields[:3], 0)
    for field in fields:
        largest = field >> _shift(field)
        if largest & (largest + 1) or largest > 65535:  # There is a gap in it, or more than is ever written.
            return None
    return fields if all(fields[:3]) else None


def _shift(field: int) -> int:
    return max((field & -field).bit_length() - 1, 0)


def _colours(pixels: NDArray[np.unsignedinteger], fields: tuple[int, ...]) -> NDArray[np.uint8]:
    """Pixels, h × w, as red, green and blue over white, h × w × 3."""
    samples = [((pixels & field) >> _shift(field), field >> _shift(field)) for field in fields]
    if not fields[3]:
        return np.stack([levels_of(values, largest) for values, largest in samples[:3]], axis=2)
    alpha, most = samples[3]
    return np.concatenate(
        [
            over_white((values / largest)[..., None], (alpha / most)[..., None], largest=1)
            for values, largest in samples[:3]
        ],
        axis=2,
    )


def _palette(file: BinaryIO, start: int, end: int, num_colours: int, size: int) -> NDArray[np.uint8]:
    """The colours of a palette, size × 3: red, green and blue; those that the file lacks are black."""
    file.seek(start)
    raw = file.read(4 * min(num_colours or size, size, max(end - start, 0) // 4))
    colours = np.frombuffer(raw.ljust(4 * size, b"\0"), dtype=np.uint8).reshape(size, 4)
    return colours[:, 2::-1]
