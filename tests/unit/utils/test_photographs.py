"""Photographs of extreme shapes, against what Pillow makes of their middle."""

import numpy as np
import pytest
from PIL import Image

import reprogram
from reprogram.utils import images
from reprogram.utils.photographs import MAX_RATIO, as_photograph

OPTIONS = {"size": (24, 24), "crop": 0.875, "interpolation": "bilinear"}


@pytest.mark.parametrize("size", [(3, 3 * MAX_RATIO), (3 * MAX_RATIO, 3), (5, 60)])
def test_long_photographs_are_resized_whole(size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    side = round(24 / 0.875)
    scaled = image.resize(tuple(length * side // min(size) for length in size), Image.Resampling.BILINEAR)
    left, top = (round((length - 24) / 2) for length in scaled.size)
    expected = np.asarray(scaled.crop((left, top, left + 24, top + 24))).transpose(2, 0, 1)
    assert np.array_equal((as_photograph(image, **OPTIONS)[0] * 255).round().numpy(), expected)


@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1), (3, 40_001)])
def test_a_thread_is_its_middle(size, monkeypatch):
    """One bright pixel in the middle is seen, one at the end isn't; and nothing large is made on the way."""
    made, resize = [], Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, to, *a: made.append(to) or resize(self, to, *a))
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[size[1] // 2, size[0] // 2] = 255
    seen = as_photograph(Image.fromarray(pixels), channels=1, **OPTIONS)
    pixels[-1, -1] = 255
    assert seen.shape == (1, 1, 24, 24) and seen.max() > 0.1
    assert made and all(width * height < 50_000 for width, height in made)
    assert (as_photograph(Image.fromarray(pixels), channels=1, **OPTIONS) == seen).all()


def test_a_side_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_SIDE", 30)
    for ending in ("png", "bmp", "tif", "gif"):
        path = tmp_path / f"x.{ending}"
        Image.new("L", (30, 2)).save(path)
        assert images.read(path).size == (30, 2)
        Image.new("L", (31, 2)).save(path)
        with pytest.raises(reprogram.DataError, match="31x2 pixels; a side has at most 30") as error:
            images.read(path)
        assert "\n" not in str(error.value)
