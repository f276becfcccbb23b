"""Canvases against NumPy and Pillow, and what they refuse."""

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import random_task
from helpers_components import pixels_model
from reprogram.canvases.base import match_channels, to_unit
from reprogram.canvases.shuffled import Shuffled
from reprogram.framed import Box


def test_shuffled_is_one_permutation_of_whole_pixels():
    task = random_task(shape=(3, 8, 8), separable=False)
    model = pixels_model("frame", task, canvas="shuffled(seed=4)")
    window = model.canvas(task.test.images).window
    flat, original = window.flatten(2).numpy(), (task.test.images.float() / 255).flatten(2).numpy()
    order = [next(j for j in range(64) if np.array_equal(original[:, :, j], flat[:, :, i])) for i in range(64)]
    assert sorted(order) == list(range(64)) and order != list(range(64))
    again, other = (
        pixels_model("frame", task, canvas=f"shuffled(seed={s})").canvas(task.test.images).window for s in (4, 5)
    )
    assert torch.equal(window, again) and not torch.equal(window, other)


def test_resize_is_pillows_antialiased_bilinear():
    task = random_task(shape=(3, 50, 46), separable=False, n=(8, 4, 4))
    model = pixels_model("full", task, canvas="resize")
    framed = model.canvas(task.test.images[:1])
    assert framed.box == Box(top=0, left=0, height=20, width=24)
    for channel in range(3):
        image = Image.fromarray(task.test.images[0, channel].numpy().astype(np.float32) / 255, mode=None)
        expected = np.asarray(image.resize((24, 20), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(framed.window[0, channel].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("h,w,top,left", [(8, 8, 6, 8), (7, 9, 6, 7), (20, 24, 0, 0), (1, 1, 9, 11)])
def test_centre_places_as_the_paper_does(h, w, top, left):
    task = random_task(shape=(3, h, w), separable=False)
    framed = pixels_model("full", task).canvas(task.test.images)
    assert framed.box == Box(top=top, left=left, height=h, width=w)
    canvas = np.full((16, 3, 20, 24), 0.5, dtype=np.float32)
    canvas[:, :, top : top + h, left : left + w] = task.test.images.numpy().astype(np.float32) / 255
    np.testing.assert_array_equal(framed.dense().numpy(), canvas)


@pytest.mark.parametrize("canvas", ["centre", "shuffled"])
def test_a_task_image_larger_than_the_canvas_is_refused(canvas, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        pixels_model("full", random_task(shape=(3, 21, 8)), canvas=canvas)
    one_line(error, "21x8", "20x24", "resize")


@pytest.mark.parametrize(
    "images,text",
    [
        (torch.full((1, 3, 8, 8), float("nan")), "finite"),
        (torch.full((1, 3, 8, 8), float("inf")), "finite"),
        (torch.full((1, 3, 8, 8), 1.01), "range"),
        (torch.full((1, 3, 8, 8), -0.01), "range"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "uint8"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.bool), "uint8"),
        (torch.zeros(1, 3, 8, 9), "shape"),
        (torch.zeros(1, 1, 8, 8), "shape"),
        (torch.zeros(3, 8, 8), "shape"),
    ],
)
def test_bad_images_are_refused(images, text, one_line):
    model = pixels_model("frame", random_task(shape=(3, 8, 8)))
    with pytest.raises(reprogram.DataError) as error:
        model(images)
    one_line(error, text)


def test_uint8_and_unit_floats_give_the_same_canvas():
    task = random_task(shape=(3, 8, 8), separable=False)
    model = pixels_model("frame", task)
    images = task.test.images
    assert torch.equal(model.canvas(images).window, model.canvas(images.float() / 255).window)
    assert torch.equal(to_unit(images, torch.float64), images.double() / 255)


def test_a_canvas_for_channels_that_cannot_be_matched_is_not_built(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.Reprogrammed.build("linear:40", random_task((2, 8, 8)))
    one_line(error, "2 channels, the host takes 3")


@pytest.mark.parametrize("have,want", [(2, 3), (4, 3), (3, 2), (4, 1)])
def test_other_numbers_of_channels_are_refused(have, want, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        match_channels(torch.zeros(1, have, 4, 4), want)
    one_line(error, str(have), str(want))


def test_a_permutation_that_was_first_needed_without_gradients_serves_with_them():
    canvas = Shuffled(Shuffled.Config(), image_shape=(3, 8, 8), host_shape=(3, 16, 16))
    with torch.inference_mode():
        canvas(torch.rand(2, 3, 8, 8))
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(canvas(images).window.sum(), images)
    assert torch.equal(gradient, torch.ones(2, 3, 8, 8))


@pytest.mark.parametrize("canvas", ["centre", "shuffled"])
def test_a_size_that_is_too_large_is_the_option_to_mend(canvas):
    with pytest.raises(reprogram.ConfigError, match=r"size=300 makes an image of 300x300 pixels.*40x40; give less"):
        reprogram.Reprogrammed.build("linear:40", "digits", canvas=f"{canvas}(size=300)")


@pytest.mark.parametrize("contrast", [0.004, 0.006, 0.0078])
def test_a_contrast_of_one_level_is_enough(contrast):
    canvas = f"centre(contrast={contrast}, round_8bit=True)"
    model = reprogram.Reprogrammed.build("linear:40", "digits", canvas=canvas)
    levels = model.canvas(torch.rand(2, 1, 8, 8)).window * 255
    assert set(levels.round().flatten().tolist()) == {127.0, 128.0}
