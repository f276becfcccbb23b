"""Image files that must be refused, most before they are decoded: each function writes one and returns its path."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

Attack = Callable[[Path, bytes], Path]
ATTACKS: dict[str, Attack] = {}


def attack(write: Attack) -> Attack:
    """List an attack: a function of a folder to write to and a good PNG's bytes, which returns the bad file's path."""
    ATTACKS[write.__name__] = write
    return write


def put(folder: Path, name: str, raw: bytes) -> Path:
    """Write bytes as an image file."""
    path = folder / name
    path.write_bytes(raw)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG file of these chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def squeezed(num_bytes: int) -> bytes:
    """That many zeros, a thousandth of it compressed."""
    packer, parts = zlib.compressobj(9), []
    for start in range(0, num_bytes, 2**20):
        parts.append(packer.compress(bytes(min(2**20, num_bytes - start))))
    return b"".join(parts) + packer.flush()


@attack
def png_of_200_megapixels(folder: Path, good: bytes) -> Path:
    """One bit a pixel, 25 kB as a file."""
    return put(folder, "x.png", png(20_000, 10_000, 1, 0, chunk(b"IDAT", squeezed(2501 * 10_000))))


@attack
def png_bomb(folder: Path, good: bytes) -> Path:
    """The most that a header can claim."""
    return put(folder, "x.png", png(2**31 - 1, 2**31 - 1, 8, 2, chunk(b"IDAT", squeezed(2**20))))


@attack
def png_with_a_text_bomb(folder: Path, good: bytes) -> Path:
    """A compressed comment of 256 MiB in a small image."""
    text = chunk(b"zTXt", b"Comment\0\0" + squeezed(2**28))
    return put(folder, "x.png", good[:33] + text + good[33:])


def webp(folder: Path, width: int, height: int) -> Path:
    """An animation on a canvas that a decoder may allocate as soon as it is opened."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    animation = b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    Image.new("RGB", (16, 16)).save(folder / "small.webp", lossless=True)
    still = (folder / "small.webp").read_bytes()[12:]
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + b"\x64\0\0\0" + still
    body = extended + animation + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return put(folder, "x.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)


@attack
def webp_of_200_megapixels(folder: Path, good: bytes) -> Path:
    """More than Pillow opens by itself."""
    return webp(folder, 16_383, 12_300)


@attack
def webp_of_120_megapixels(folder: Path, good: bytes) -> Path:
    """Less than Pillow's limit, more than ours."""
    return webp(folder, 16_000, 7_500)


@attack
def png_of_120_megapixels(folder: Path, good: bytes) -> Path:
    """The same as a still image."""
    return put(folder, "x.png", png(16_000, 7_500, 1, 0, chunk(b"IDAT", squeezed(2001 * 7_500))))


@attack
def gif_of_4_gigapixels(folder: Path, good: bytes) -> Path:
    """A large screen with one small frame."""
    Image.new("L", (4, 4)).save(folder / "x.gif")
    raw = bytearray((folder / "x.gif").read_bytes())
    raw[6:10] = struct.pack("<HH", 65535, 65535)
    return put(folder, "x.gif", bytes(raw))


@attack
def bmp_of_200_megapixels(folder: Path, good: bytes) -> Path:
    """A header without pixels."""
    Image.new("RGB", (4, 4)).save(folder / "x.bmp")
    raw = bytearray((folder / "x.bmp").read_bytes())
    raw[18:26] = struct.pack("<ii", 20_000, 10_000)
    return put(folder, "x.bmp", bytes(raw))


@attack
def tiff_of_200_megapixels(folder: Path, good: bytes) -> Path:
    """A header whose strips lie behind the end."""
    Image.new("L", (4, 4)).save(folder / "x.tif")
    raw = bytearray((folder / "x.tif").read_bytes())
    (start,) = struct.unpack("<I", raw[4:8])
    for place in range(start + 2, start + 2 + 12 * struct.unpack("<H", raw[start : start + 2])[0], 12):
        if struct.unpack("<H", raw[place : place + 2])[0] in (256, 257):
            raw[place + 2 : place + 12] = struct.pack("<HII", 4, 1, 15_000)
    return put(folder, "x.tif", bytes(raw))


@attack
def pgm_of_200_megapixels(folder: Path, good: bytes) -> Path:
    """A size in plain text."""
    return put(folder, "x.pgm", b"P5 20000 10000 255\n" + bytes(1000))


@attack
def jpeg_of_4_gigapixels(folder: Path, good: bytes) -> Path:
    """The most that a JPEG's header can claim."""
    Image.new("RGB", (8, 8)).save(folder / "x.jpg")
    raw = bytearray((folder / "x.jpg").read_bytes())
    place = raw.index(b"\xff\xc0")
    raw[place + 5 : place + 9] = struct.pack(">HH", 65_500, 65_500)
    return put(folder, "x.jpg", bytes(raw))


@attack
def fifo(folder: Path, good: bytes) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "x.png")
    return folder / "x.png"


@attack
def dev_zero(folder: Path, good: bytes) -> Path:
    """A device without an end."""
    return Path("/dev/zero")


@attack
def directory(folder: Path, good: bytes) -> Path:
    """A folder."""
    (folder / "x.png").mkdir()
    return folder / "x.png"


@attack
def zeros_without_end(folder: Path, good: bytes) -> Path:
    """A sparse file of a tebibyte."""
    path = put(folder, "x.png", b"")
    os.truncate(path, 2**40)
    return path


@attack
def truncated(folder: Path, good: bytes) -> Path:
    """Half a file."""
    return put(folder, "x.png", good[: len(good) // 2])


@attack
def postscript(folder: Path, good: bytes) -> Path:
    """A program in the guise of a picture; nothing is handed to an interpreter."""
    return put(folder, "x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n%%EOF\n")
