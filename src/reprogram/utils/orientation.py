"""How a photograph was held: the orientation of an image file, read alone from whatever else its metadata hold."""

import re
import struct

from PIL import Image

ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "L"}  # The types of a TIFF field that whole numbers from 0 on may have.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """The orientation that an image's EXIF block names, or else its XMP packet.

    No other field is looked at, so that odd ones do no harm.

    Args:
        image: the decoded image, with the metadata as Pillow leaves them in `info`.

    Returns:
        1 to 8, as EXIF counts; 1 (as it is) where the metadata name none or are damaged.
    """
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:  # ImageMagick's form of the block in a PNG
        exif = _from_hex(str(image.info["Raw profile type exif"]))
    found = of_exif(exif) if isinstance(exif, bytes) else None
    return found or _of_xmp(image.info.get("XML:com.adobe.xmp") or image.info.get("xmp")) or 1


def of_exif(block: bytes) -> int | None:
    """The orientation in an EXIF block, which is a small TIFF file.

    Args:
        block: the block, with or without its `Exif` mark.

    Returns:
        1 to 8; None where the first directory names none or can't be read.
    """
    tiff = re.sub(rb"^(?:Exif\x00\x00){1,2}", b"", block)
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(f"{order}L", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{order}HHL", tiff, entry)
            if tag == ORIENTATION and kind in _INTEGERS and number == 1:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], tiff, entry + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:  # The directory is cut off before any orientation.
        pass
    return None


def turned(image: Image.Image, value: object) -> Image.Image:
    """An image as it is to be looked at.

    Args:
        image: the decoded image; it may be changed in place.
        value: its orientation, 1 to 8; anything else leaves the image as it is.
    """
    turn = _TURNS.get(value) if isinstance(value, int) else None
    if turn is not None:
        image.im = image.im.transpose(turn)
        image._size = image.im.size
    return image


def _from_hex(profile: str) -> bytes | None:
    """The bytes of a profile that PNG holds as text: a line break, the kind, the length, and hexadecimal digits."""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return None


def _of_xmp(packet: object) -> int | None:
    text = packet.decode("latin-1") if isinstance(packet, bytes) else str(packet or "")
    match = re.search(r'tiff:Orientation(?:="|>)([1-8])\b', text)
    return int(match[1]) if match else None
