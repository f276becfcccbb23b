"""Task images of other sizes, and tiles of them, against Pillow and NumPy."""

import itertools

import numpy as np
import pytest
from PIL import Image

import reprogram
from helpers import random_task, tiny_model
from helpers_components import TASK, images
from reprogram import registry
from reprogram.framed import Box


@pytest.mark.parametrize("shape,size,expected", [((3, 8, 8), 12, (12, 12)), ((1, 20, 10), 12, (12, 6))])
@pytest.mark.parametrize("canvas", ["centre", "shuffled"])
def test_a_task_image_of_another_size_is_pillows(canvas, shape, size, expected):
    task = random_task(shape=shape, separable=False, n=(8, 4, 4))
    model = tiny_model(task, program="full", canvas=f"{canvas}(size={size})", size=(18, 16))
    framed = model.canvas(task.test.images[:2])
    h, w = expected
    assert framed.box == Box(top=(18 - h) // 2, left=(16 - w) // 2, height=h, width=w)
    for n, channel in itertools.product(range(2), range(shape[0])):
        image = Image.fromarray(task.test.images[n, channel].numpy().astype(np.float32) / 255, mode=None)
        pixels = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR))
        got = framed.window[n, channel].numpy()
        if canvas == "shuffled":
            order = model.canvas.order().numpy()
            assert sorted(order) == list(range(h * w))
            pixels = pixels.ravel()[order].reshape(h, w)
        np.testing.assert_allclose(got, pixels, atol=1e-4)


@pytest.mark.parametrize("size", [-1, 17])
@pytest.mark.parametrize("canvas", ["centre", "shuffled"])
def test_sizes_that_no_canvas_has_are_refused(canvas, size, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program="full", canvas=f"{canvas}(size={size})")
    one_line(error, str(size))


@pytest.mark.parametrize("size,share,side", [(16, 0.5, 8), ((19, 30), 0.75, 14), ((31, 16), 0.25, 4), (16, 0.01, 1)])
def test_a_share_of_the_canvas_is_that_size_in_pixels(size, share, side):
    scaled = tiny_model(TASK, canvas=f"scaled(share={share})", size=size).canvas
    centred = tiny_model(TASK, canvas=f"centre(size={side})", size=size).canvas
    assert scaled.geometry == centred.geometry
    np.testing.assert_array_equal(scaled(images()).dense().numpy(), centred(images()).dense().numpy())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(share, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        registry.find("canvases", "scaled").Config(share=share)
    one_line(error, "share")


@pytest.mark.parametrize("size", [16, (19, 30), (8, 8)])
def test_tiles_repeat_the_image_around_the_centre(size):
    model = tiny_model(TASK, program="full", canvas="tile", size=size)
    got = model.canvas(images()).dense().numpy()
    height, width = got.shape[2:]
    original = images().numpy() / 255.0
    top, left = (height - 8) // 2, (width - 8) // 2
    for y, x in itertools.product(range(height), range(width)):
        np.testing.assert_allclose(got[:, :, y, x], original[:, :, (y - top) % 8, (x - left) % 8], atol=1e-7)


def test_a_tile_larger_than_the_canvas_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(random_task(shape=(3, 17, 8)), program="full", canvas="tile")
    one_line(error, "17x8")
