"""The program that learns how large the task image is, against bilinear sampling in NumPy."""

import itertools
import math

import numpy as np
import pytest
import torch

import reprogram
from helpers_components import canvas_of, drawn, images, noisy_model, numpy_of
from reprogram.registry import configure


def bilinear(image, y, x):
    """A pixel between pixels, 0 beyond the edges; c h w at real y, x."""
    value = np.zeros(image.shape[0])
    for j, i in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= j < image.shape[1] and 0 <= i < image.shape[2]:
            value += image[:, j, i] * (1 - abs(y - j)) * (1 - abs(x - i))
    return value


@pytest.mark.parametrize("canvas", ["centre", "resize", "centre(size=12)"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.7, 3.9])
def test_zoom_is_bilinear_sampling_about_the_centre(scale, canvas):
    model = noisy_model(f"zoom(scale={scale})", canvas)
    model.program.z.data.fill_(math.atanh(math.log(scale, 4)))
    assert float(model.program.scale().detach()) == pytest.approx(scale, rel=1e-5)
    before, window = canvas_of(model)[:2], model.canvas.geometry.window
    change = np.tanh(numpy_of(model.program.weight))[0] / 2
    expected = before + change
    source = before[:, :, window.rows, window.columns]
    ones = np.ones((1, window.height, window.width))
    for row, column in itertools.product(range(window.height), range(window.width)):
        y = (row - (window.height - 1) / 2) / scale + (window.height - 1) / 2
        x = (column - (window.width - 1) / 2) / scale + (window.width - 1) / 2
        pixel = (slice(None), window.top + row, window.left + column)
        covered = bilinear(ones, y, x)
        for n in range(2):
            expected[n][pixel] = bilinear(source[n], y, x) + (1 - covered) * (0.5 + change[pixel])
    np.testing.assert_allclose(drawn(model)[:2], np.clip(expected, 0, 1), atol=2e-5)


def test_zoom_of_1_is_the_frame_program():
    model, frame = noisy_model("zoom"), noisy_model("frame")
    model.program.z.data.zero_()
    frame.program.weight.data.copy_(model.program.weight.data)
    np.testing.assert_allclose(drawn(model), drawn(frame), atol=2e-6)


def test_zoom_learns_its_factor():
    """By finite differences, in float64."""
    model = noisy_model("zoom(scale=0.8)").double()
    model.program.z.data.fill_(-0.2)
    upstream = torch.randn(16, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pixels = images().double() / 255

    def value():
        return (model.program.run(model.canvas(pixels)).dense() * upstream).sum()

    (gradient,) = torch.autograd.grad(value(), model.program.z)
    step = 1e-6
    with torch.no_grad():
        model.program.z += step
        high = value()
        model.program.z -= 2 * step
        low = value()
    assert float(gradient) == pytest.approx(float(high - low) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("scale", [0.25, 4.0, 0.0, -1.0, 100.0])
def test_zoom_out_of_range_is_refused(scale, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("programs", f"zoom(scale={scale})")
    one_line(error, "0.25 and 4")
