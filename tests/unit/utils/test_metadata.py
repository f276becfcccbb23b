"""Photographs with odd metadata: the orientation alone counts, and the pixels are those of the file without them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import reprogram
from reprogram.utils import images
from reprogram.utils.metadata import without_metadata
from reprogram.utils.orientation import of_exif

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
FORMATS = ("JPEG", "PNG", "WEBP")


def block(*entries, order="<", tail=b""):
    """An EXIF block of (tag, type, count, four bytes of value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    fields = b"".join(struct.pack(f"{order}HHL", *entry[:3]) + entry[3] for entry in entries)
    return head + struct.pack(f"{order}H", len(entries)) + fields + bytes(4) + tail


def orientation(value, order="<"):
    return (0x0112, 3, 1, struct.pack(f"{order}HH", value, 0))


def encoded(kind, exif=None):
    buffer = io.BytesIO()
    PICTURE.save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}), **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def with_segment(marker, content):
    raw = encoded("JPEG")
    return raw[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + raw[2:]


def with_chunk(name, content):
    raw, crc = encoded("PNG"), struct.pack(">I", zlib.crc32(name + content))
    return raw[:33] + struct.pack(">I", len(content)) + name + content + crc + raw[33:]


def with_exif(kind, exif):
    if kind == "JPEG":
        return with_segment(0xE1, b"Exif\0\0" + exif)
    return with_chunk(b"eXIf", exif) if kind == "PNG" else encoded(kind, exif)


def read(tmp_path, raw):
    (tmp_path / "x.png").write_bytes(raw)
    return np.asarray(images.read(tmp_path / "x.png"))


ODD = {
    "text typed as a fraction": (0x010F, 5, 1, struct.pack("<L", 38)),
    "resolution of two shorts": (0x011A, 3, 2, struct.pack("<HH", 1, 0)),
    "resolution over zero": (0x011A, 5, 1, struct.pack("<L", 38)),
    "pointer to nowhere": (0x8825, 4, 1, struct.pack("<L", 2**32 - 1)),
    "pointer that is text": (0x8769, 2, 4, b"abcd"),
    "more values than there are": (0x9286, 7, 2**32 - 1, bytes(4)),
    "unknown type": (0x0131, 99, 1, bytes(4)),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("odd", ODD)
def test_odd_fields_leave_picture_and_orientation_as_they_are(tmp_path, kind, odd):
    exif = block(orientation(6), ODD[odd], (0x0128, 3, 1, struct.pack("<HH", 2, 0)), tail=bytes(16))
    expected = np.rot90(read(tmp_path, encoded(kind)), -1)
    np.testing.assert_array_equal(read(tmp_path, with_exif(kind, exif)), expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_altered_blocks_leave_the_pixels_alone(tmp_path, kind):
    rng = np.random.default_rng(1)
    sound = block(orientation(1), *ODD.values(), tail=bytes(range(64)))
    expected = read(tmp_path, encoded(kind))
    turns = [np.rot90(flipped, k) for flipped in (expected, expected[:, ::-1]) for k in range(4)]
    for _ in range(350):
        exif = bytearray(sound)
        for place in rng.integers(0, len(exif), 6):
            exif[place] = rng.integers(256)
        got = read(tmp_path, with_exif(kind, bytes(exif[: rng.integers(1, len(exif) + 1)])))
        assert any(got.shape == turn.shape and np.array_equal(got, turn) for turn in turns)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_of_a_block(order):
    for value in range(1, 9):
        assert of_exif(block(orientation(value, order), order=order)) == value
        assert of_exif(b"Exif\0\0" + block(orientation(value, order), order=order)) == value
    for exif in (b"", b"II", block(order=order), block(orientation(9, order), order=order), b"MM\0*\xff\xff\xff\xff"):
        assert of_exif(exif) is None


def test_orientation_in_xmp_counts_where_exif_names_none(tmp_path):
    expected = read(tmp_path, encoded("JPEG"))
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="3"/>'
    np.testing.assert_array_equal(read(tmp_path, with_segment(0xE1, xmp)), np.rot90(expected, 2))
    np.testing.assert_array_equal(read(tmp_path, with_segment(0xE1, xmp.replace(b"3", b"0"))), expected)


METADATA = {
    "short JFIF": with_segment(0xE0, b"JFIF\0"),
    "short colour profile": with_segment(0xE2, b"ICC_PROFILE\0"),
    "odd Photoshop block": with_segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x02ab"),
    "short text": with_chunk(b"iTXt", b"a"),
    "short resolution": with_chunk(b"pHYs", b"abc"),
    "short gamma": with_chunk(b"gAMA", b""),
    "odd colour profile": with_chunk(b"iCCP", b"\xff" * 20),
    "wrong checksum": encoded("PNG")[:33] + b"\0\0\0\x01tEXtaXXXX" + encoded("PNG")[33:],
}


@pytest.mark.parametrize("name", METADATA)
def test_other_metadata_are_no_reason_to_refuse_pixels(tmp_path, name):
    raw = METADATA[name]
    plain = encoded("PNG" if raw.startswith(b"\x89") else "JPEG")
    np.testing.assert_array_equal(read(tmp_path, raw), read(tmp_path, plain))


def test_what_decides_the_pixels_stays():
    for raw in (encoded("JPEG"), encoded("PNG")):
        bare, exif = without_metadata(raw)
        assert exif == b"" and np.array_equal(Image.open(io.BytesIO(bare)), Image.open(io.BytesIO(raw)))
        assert without_metadata(raw[:20]) is None or raw[:2] == b"\x89P"
    assert without_metadata(encoded("WEBP")) is None


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_metadata_that_swell_are_refused(tmp_path, name, one_line):
    with pytest.raises(reprogram.DataError) as error:
        read(tmp_path, with_chunk(name, b"a\0\0" + zlib.compress(bytes(2**21))))
    one_line(error, "x.png", "too large")
