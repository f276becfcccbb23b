"""One line on an image file that isn't read: what it is, by its first bytes, and what to do."""

from collections.abc import Callable
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from reprogram.errors import DataError
from reprogram.utils.deep_pixels import UnreadLayoutError
from reprogram.utils.metadata import jpeg_depth
from reprogram.utils.tiff_layout import described

_MARKS = {
    b"\x89PNG": "PNG", b"\xff\xd8": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
    b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP",
}  # fmt: skip
_OTHERS = {
    b"8BPS": "a PSD file", b"DDS ": "a DDS file", b"\0\0\1\0": "an ICO file", b"\xff\x4f\xff\x51": "a JPEG 2000 file",
    b"\0\0\0\x0cjP": "a JPEG 2000 file", b"\0\0\0\x0cJXL": "a JPEG XL file", b"\xff\x0a": "a JPEG XL file",
    b"%PDF": "a PDF file", b"<": "a text, such as a web page or SVG", b"PK\3\4": "a zip archive",
    b"\x1f\x8b": "a gzip archive", b"version http": "a pointer of Git LFS, whose file isn't fetched",
}  # fmt: skip


def refusal(error: BaseException, name: str, opened: Callable[[], BinaryIO], most_pixels: int) -> DataError:
    """The error of a file that can't be decoded.

    Args:
        error: what decoding raised.
        name: what the message calls the file.
        opened: opens it anew, to look at its first bytes.
        most_pixels: the most pixels that are read.
    """
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"{name}: too many pixels; at most {most_pixels:,} are read, make it smaller")
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{name}: {_unidentified(opened)}; convert it to PNG, 8 bits, grey or RGB")
    if isinstance(error, UnreadLayoutError):
        return DataError(f"{name}: not read, for {error}; convert it to 8 bits, grey or RGB")
    if str(error).startswith("Unsupported"):  # Pillow says so of sound files, too.
        return DataError(f"{name}: not read, for {error}; convert it to PNG, 8 bits, grey or RGB")
    if isinstance(error, OSError) and error.strerror:  # The system's; Pillow's own have no number.
        return DataError(f"{name}: can't be read ({error.strerror}); give the path of an image")
    return DataError(f"{name}: damaged ({str(error)[:120] or type(error).__name__}); replace or remove it")


def _unidentified(opened: Callable[[], BinaryIO]) -> str:
    """What can be said of a file that Pillow can't open, by its first bytes."""
    with opened() as file:
        start = file.read(12)
        if start[4:8] == b"ftyp":
            return "a photograph in HEIC, AVIF or the like, which isn't read"
        if start[:2] in (b"II", b"MM") and (samples := described(file)):
            return f"a TIFF file of a kind that isn't read ({samples}), or damaged"
        if not start:
            return "an empty file"
        if start.startswith(b"\xff\xd8") and (bits := jpeg_depth(file)) not in (None, 8):
            return f"a JPEG file of {bits} bits a sample, which isn't read"
    if other := next((name for mark, name in _OTHERS.items() if start.startswith(mark)), None):
        return f"{other}, which isn't read"
    known = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    return f"a {known} file of a kind that isn't read, or damaged" if known else "not an image that can be read"
