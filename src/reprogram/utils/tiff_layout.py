"""Decoding TIFF files by what their tags say of the samples: depth, sign, planes, alpha, colour map."""

import io
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin

from reprogram.utils.deep_pixels import (
    Alpha,
    UnreadLayoutError,
    from_halves,
    keep_from_turning,
    levels_of,
    over_white,
    rounded,
    set_raw_mode,
)
from reprogram.utils.orientation import ORIENTATION, turned

# The tags of a TIFF file that say what its samples are and where they lie.
_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _BIT_ORDER, _PLANES = 254, 258, 259, 262, 266, 284
_COLOUR_MAP, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _SAMPLES, _JPEG_TABLES = 320, 338, 339, 277, 347
_STRIPS, _TILES = (273, 279), (324, 325)
"""The tags of where strips or tiles begin, and of how many bytes they have."""
_OF_EACH_PLANE = (256, 257, _COMPRESSION, _BIT_ORDER, 278, 317, 322, 323, _JPEG_TABLES)
"""Size, compression, order of bits, rows in a strip, predictor, size of tiles, JPEG tables."""
_RARE = {"tiff_lzma": "LZMA", "lzma": "LZMA", "zstd": "Zstandard", "webp": "WebP"}
"""Compressions that libtiff knows only if it was built so."""


def decode_tiff(image: ImageFile.ImageFile) -> Image.Image:
    """Decode a TIFF file that is opened and not loaded yet.

    Args:
        image: as `PIL.Image.open` gives it.

    Returns:
        An image of 8 bits a sample, turned as the file says.

    Raises:
        UnreadLayoutError: the file's samples aren't of a kind that is read.
        OSError: the file is damaged; as is whatever else Pillow raises.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    _refuse_unread(tags, image.mode)
    try:
        separate = tags.get(_PLANES, 1) == 2 and tags.get(_SAMPLES, 1) > 1 and tags.get(_PHOTOMETRIC) in (0, 1, 2, 5)
        picture = _of_planes(image, tags) if separate else _of_pixels(image, tags)
    except OSError as error:
        if (rare := _RARE.get(str(image.info.get("compression")))) and "decoder error" in str(error):
            raise UnreadLayoutError(f"its compression is {rare}, which isn't known here, or it is damaged") from None
        raise
    return turned(picture, tags.get(ORIENTATION))


def _of_pixels(image: ImageFile.ImageFile, tags: Any) -> Image.Image:
    """An image whose samples lie pixel by pixel."""
    photometric, bits = tags.get(_PHOTOMETRIC), tags.get(_BITS, (1,))[0]
    _prefer_libtiff(image, tags)
    if image.mode in ("P", "PA"):
        image.palette = ImagePalette.raw("RGB;L", _colour_map(tags.get(_COLOUR_MAP, ()), bits))
    keep_from_turning(image)
    raw_mode = str(image.tile[0].args[0]) if isinstance(image.tile[0].args, tuple) else ""
    alpha: Alpha = "multiplied" if raw_mode.startswith("RGBa") else "straight"
    if raw_mode[:-1] in ("RGB;16", "RGBX;16", "RGBA;16", "RGBa;16", "CMYK;16"):
        higher = raw_mode[-1] if raw_mode[-1] != "N" else {"little": "L", "big": "B"}[sys.byteorder]
        straight = raw_mode[:-1].replace("a", "A")
        set_raw_mode(image, straight + higher)
        lower = straight + {"L": "B", "B": "L"}[higher]
        return from_halves(image, lower, alpha="none" if straight == "CMYK;16" else alpha)
    if raw_mode == "RGBa":
        set_raw_mode(image, "RGBA")
    image.load()
    if raw_mode == "RGBa" or image.mode == "La":
        samples = np.asarray(image)
        levels = over_white(samples[..., :-1], samples[..., -1:], "multiplied", 255)
        return Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0])
    if image.mode.startswith("I"):
        grey = levels_of(np.asarray(image), 2**bits - 1)
        return Image.fromarray(255 - grey if photometric == 0 else grey)
    return image


def _prefer_libtiff(image: ImageFile.ImageFile, tags: Any) -> None:
    """Have libtiff decode what isn't compressed where Pillow's own decoder errs: it mixes up YCbCr of halved chroma."""
    unusual = tags.get(_PLANES, 1) == 2 or tags.get(_PHOTOMETRIC) == 6 or tags.get(_BIT_ORDER, 1) == 2
    if image.info.get("compression") == "raw" and unusual:
        tags[_COMPRESSION] = 5  # libtiff sees in the file itself that this isn't so.
        image._setup()  # type: ignore[attr-defined]


def _of_planes(image: ImageFile.ImageFile, tags: Any) -> Image.Image:
    """An image whose colours, and alpha, are planes of their own."""
    photometric, extra = tags.get(_PHOTOMETRIC), tags.get(_EXTRA_SAMPLES, ())
    num_colours = {2: 3, 5: 4}.get(photometric, 1)
    opacity = next((index for index, kind in enumerate(extra) if kind in (1, 2)), None)
    if photometric == 5 and opacity is not None:
        raise UnreadLayoutError("it is CMYK with alpha")
    chosen = [*range(num_colours), *([] if opacity is None else [num_colours + opacity])]
    planes = [_samples(plane) for plane in _as_files(image, tags, chosen)]
    if photometric == 0:
        planes[0] = np.iinfo(planes[0].dtype).max - planes[0]
    factor = 65535 // np.iinfo(planes[0].dtype).max

    def values(box: tuple[int, int, int, int]) -> NDArray[np.uint32]:
        _, top, _, bottom = box
        return np.stack([plane[top:bottom].astype(np.uint32) * factor for plane in planes], axis=2)

    multiplied = opacity is not None and extra[opacity] == 1
    alpha: Alpha = "none" if opacity is None else "multiplied" if multiplied else "straight"
    return rounded(image.size, values, alpha=alpha)


def _as_files(image: ImageFile.ImageFile, tags: Any, chosen: list[int]) -> Iterator[ImageFile.ImageFile]:
    """Some planes of a TIFF file, each as a file of grey of its own, of which Pillow reads every depth."""
    assert image.fp is not None
    places, counts = _STRIPS if _STRIPS[0] in tags else _TILES
    each, odd = divmod(len(tags.get(places, ())), tags[_SAMPLES])
    if odd or not each or len(tags.get(counts, ())) != len(tags[places]):
        raise OSError("the planes' places are missing")
    if sum(tags[counts]) > image.fp.seek(0, io.SEEK_END):
        raise OSError("the planes are longer than the file")
    for plane in chosen:
        part = slice(each * plane, each * (plane + 1))
        blocks, starts, start = [], [], 8
        for place, count in zip(tags[places][part], tags[counts][part], strict=True):
            image.fp.seek(place)
            blocks.append(image.fp.read(count))
            starts.append(start)
            start += len(blocks[-1])
        fields = {tag: tags[tag] for tag in _OF_EACH_PLANE if tag in tags}
        fields |= {_BITS: tags[_BITS][plane], _PHOTOMETRIC: 1, _SAMPLES: 1}
        fields |= {places: tuple(starts), counts: tuple(map(len, blocks))}
        order = "<" if tags.prefix == b"II" else ">"
        head = tags.prefix + struct.pack(f"{order}HL", 42, start)
        content = io.BytesIO(head + b"".join(blocks) + _directory(fields, order, start))
        yield Image.open(content, formats=["TIFF"])


def _directory(fields: dict[int, Any], order: str, start: int) -> bytes:
    """The directory of a TIFF file: each field's tag, type (4 numbers, 7 bytes), count, and value or place."""
    entries, beyond = b"", b""
    for tag, value in sorted(fields.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        raw = value if isinstance(value, bytes) else struct.pack(f"{order}{len(numbers)}L", *numbers)
        kind, count = (7, len(raw)) if isinstance(value, bytes) else (4, len(numbers))
        place = start + 2 + 12 * len(fields) + 4 + len(beyond)
        entries += struct.pack(f"{order}HHL", tag, kind, count)
        entries += struct.pack(f"{order}L", place) if len(raw) > 4 else raw.ljust(4, b"\0")
        beyond += raw if len(raw) > 4 else b""
    return struct.pack(f"{order}H", len(fields)) + entries + struct.pack(f"{order}L", 0) + beyond


def _samples(image: ImageFile.ImageFile) -> NDArray[Any]:
    """The values of an opened file of grey, h × w, uint8 or uint16."""
    with image:
        _prefer_libtiff(image, image.tag_v2)  # type: ignore[attr-defined]
        image.load()
        values = np.array(image)
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        raise UnreadLayoutError(f"its planes are of {image.mode}")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def described(file: BinaryIO) -> str | None:
    """What the tags of a TIFF file say of its samples; None where they can't be read.

    Args:
        file: opened, at any place.
    """
    try:
        file.seek(0)
        start = file.read(8)
        if start[2:4] in (b"+\0", b"\0+"):
            start += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(start)
        file.seek(tags.next)
        tags.load(file)
        bits, samples, formats = tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1), tags.get(_SAMPLE_FORMAT, (1,))
        kind = {1: "whole numbers", 2: "signed integers", 3: "floating point"}.get(formats[0], "no known kind")
        codes = f"compression {tags.get(_COMPRESSION, 1)}, PhotometricInterpretation {tags.get(_PHOTOMETRIC)}"
        return f"{samples} sample(s) of {'/'.join(map(str, dict.fromkeys(bits)))} bits, {kind}, {codes}"
    except Exception:  # The directory may hold anything.
        return None


def _refuse_unread(tags: Any, mode: str) -> None:
    photometric, bits = tags.get(_PHOTOMETRIC), tags.get(_BITS, (1,))
    formats = set(tags.get(_SAMPLE_FORMAT, (1,)))
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
    if reason is not None:
        raise UnreadLayoutError(reason)


def _colour_map(values: tuple[int, ...], bits: int) -> bytes:
    """The colour map of a TIFF file in 8 bits: all red values, then green, then blue."""
    if len(values) != 3 * 2**bits:
        raise UnreadLayoutError(f"its colour map has {len(values)} values, {3 * 2**bits} are expected")
    if max(values) < 256:  # Old writers give 8 bits where the format asks for 16, as libtiff knows, too.
        return bytes(values)
    return levels_of(np.array(values)).tobytes()
