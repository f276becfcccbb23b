"""Image files that are in memory are read as files are: the same pixels, the same refusals, an own limit."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image

import reprogram
from reprogram.utils import images, photographs

RGB = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def encoded(format, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


FILES = {
    "png": encoded("PNG"),
    "grey.png": encoded("PNG", "L"),
    "palette.gif": encoded("GIF", "P"),
    "jpeg": encoded("JPEG"),
    "tiff": encoded("TIFF"),
    "bmp": encoded("BMP"),
    "webp": encoded("WEBP", lossless=True),
    "ppm": encoded("PPM"),
    "alpha.png": encoded("PNG", "RGBA"),
}


@pytest.mark.parametrize("name", FILES)
def test_bytes_are_read_as_the_file_is(tmp_path, name):
    (tmp_path / "x").write_bytes(FILES[name])
    from_file, from_bytes = images.read(tmp_path / "x"), images.read_bytes(FILES[name], most_pixels=10_000)
    assert from_file.mode == from_bytes.mode and np.array_equal(np.asarray(from_file), np.asarray(from_bytes))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged metadata.
def test_what_is_refused_is_refused_in_the_same_words(tmp_path):
    chance = random.Random(0)
    samples = [b"", b"hello", b"<svg/>", b"\0\0\0\x18ftypheic", b"GIF8", b"II*\0" + struct.pack("<I", 8) + b"\0\0"]
    for content in FILES.values():
        samples += [content[: len(content) // 2], content[:20]]
        for _ in range(3):
            broken = bytearray(content)
            for _ in range(4):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            samples.append(bytes(broken))
    refused = 0
    for content in samples:
        (tmp_path / "x").write_bytes(content)
        texts = []
        for read, name in (
            (lambda: images.read(tmp_path / "x"), str(tmp_path / "x")),
            (lambda content=content: images.read_bytes(content, most_pixels=images.MAX_PIXELS), "the image"),
        ):
            try:
                texts.append(np.asarray(read()).tobytes())
            except reprogram.DataError as error:
                assert "\n" not in str(error)
                texts.append(str(error).removeprefix(name))
        assert texts[0] == texts[1]
        refused += isinstance(texts[0], str)
    assert refused > 20


def test_the_limit_of_pixels_is_the_callers(one_line):
    assert images.read_bytes(FILES["png"], most_pixels=13 * 17).size == (17, 13)
    for name in ("png", "bmp", "jpeg"):
        with pytest.raises(reprogram.DataError) as error:
            images.read_bytes(FILES[name], most_pixels=13 * 17 - 1, name="photo")
        one_line(error, "photo", "220")


def test_a_photograph_from_memory_is_that_of_its_file(tmp_path):
    (tmp_path / "x.png").write_bytes(FILES["png"])
    options = {"size": (8, 8), "crop": 0.875, "interpolation": "bicubic"}
    expected = photographs.photograph(tmp_path / "x.png", **options)
    got = photographs.as_photograph(images.read_bytes(FILES["png"], most_pixels=1000), **options)
    assert (got == expected).all() and got.shape == (1, 3, 8, 8)
