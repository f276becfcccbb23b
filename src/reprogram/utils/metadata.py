"""Image files without their metadata, for decoders that refuse sound pixels for what odd metadata hold."""

import struct
import zlib
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def without_metadata(data: bytes) -> tuple[bytes, bytes] | None:
    """A PNG or JPEG file without all that doesn't decide its pixels.

    Args:
        data: the file.

    Returns:
        The file without its metadata, and its EXIF block (empty where there is none); None for other formats, and for
        files that are cut off.
    """
    try:
        if data.startswith(_PNG):
            return _bare_png(data)
        if data.startswith(b"\xff\xd8"):
            return _bare_jpeg(data)
    except (struct.error, IndexError):
        pass
    return None


def _bare_png(data: bytes) -> tuple[bytes, bytes]:
    """Critical chunks, those whose names begin with a capital, and the transparent colours stay as they are."""
    kept, exif, start = [_PNG], b"", len(_PNG)
    while start < len(data):
        length, name = struct.unpack_from(">L4s", data, start)
        end = start + 12 + length
        chunk = data[start:end]
        if name[:1].isupper() or name == b"tRNS":
            kept.append(chunk)
        elif name == b"eXIf" and chunk[-4:] == struct.pack(">L", zlib.crc32(chunk[4:-4])):
            exif = chunk[8:-4]
        start = end
        if name == b"IEND":
            break
    return b"".join(kept), exif


def _bare_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Application segments go, but for Adobe's and JFIF's, which say what the components are; JFIF's becomes plain."""
    kept, exif, start = [data[:2]], b"", 2
    while True:
        while data[start + 1] == 0xFF:  # Any number of these may come before a marker.
            start += 1
        marker, (length,) = data[start + 1], struct.unpack_from(">H", data, start + 2)
        content, end = data[start + 4 : start + 2 + length], start + 2 + length
        if data[start] != 0xFF or end > len(data):
            raise IndexError("no segment")
        if marker == 0xDA:  # The scan: pixels up to the end.
            return b"".join(kept) + data[start:], exif
        if marker == 0xE0 and content.startswith(b"JFIF\0"):
            kept.append(_JFIF)
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE) or (marker == 0xEE and len(content) >= 12):
            kept.append(data[start:end])
        start = end


def jpeg_depth(file: BinaryIO) -> int | None:
    """The bits of a sample of a JPEG file; None where no segment says so.

    Args:
        file: opened, at any place.
    """
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, (length,) = head[1], struct.unpack(">H", head[2:])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # The start of a frame, of any kind.
            return next(iter(file.read(1)), None)
        file.seek(length - 2, 1)
    return None
