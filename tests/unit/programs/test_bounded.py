"""Amplitude and contrast against NumPy, also after rounding to 8 bits."""

import numpy as np
import pytest

import reprogram
from helpers import tiny_model
from helpers_components import BOX, SIZE, as_png, drawn, images, randomize_weight
from reprogram.registry import configure


@pytest.mark.parametrize("std", [0.0, 0.3, 3.0, 1e30])
@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("eps", [0.01, 8 / 255, 0.0314, 0.1, 0.5, 1.0])
def test_bounded_is_eps_tanh_and_stays_within(eps, window, std):
    model = randomize_weight(tiny_model(program=f"bounded(eps={eps!r}, window={window})"), std)
    canvas = np.full((16, 3, SIZE, SIZE), 0.5)
    canvas[:, :, BOX, BOX] = images().double().numpy() / 255
    change = eps * np.tanh(model.program.weight.detach().double().numpy())
    if not window:
        change[..., BOX, BOX] = 0
    got = drawn(model)
    np.testing.assert_allclose(got, np.clip(canvas + change, 0, 1), atol=1e-6)
    assert np.abs(got - canvas).max() <= eps + 1e-6
    assert model.program.confined == (not window)


@pytest.mark.parametrize("std", [0.0, 0.5, 5.0, 1e30])
@pytest.mark.parametrize("eps", [1 / 255, 0.004, 8 / 255, 0.0314, 0.03, 0.1, 0.5])
def test_bounded_holds_in_the_8bit_picture(eps, std):
    """In whole levels, without tolerance: the grey background is 127.5 of them, task pixels are whole."""
    model = randomize_weight(tiny_model(program=f"bounded(eps={eps!r}, window=True, round_8bit=True)"), std)
    got = drawn(model)
    stored = as_png(got)
    np.testing.assert_allclose(got * 255, stored, atol=1e-4)
    levels = round(eps * 255) if abs(eps * 255 - round(eps * 255)) < 1e-4 else eps * 255
    inside = np.abs(stored[:, :, BOX, BOX] - images().numpy().astype(int))
    frame = np.abs(2 * stored - 255)  # Half levels.
    frame[:, :, BOX, BOX] = 0
    assert inside.max() <= levels and frame.max() <= 2 * levels
    if std > 1:  # The bound is used: no level is given away.
        assert inside.max() == int(levels) and frame.max() >= 2 * int(levels + 0.5) - 1


def test_bounds_of_nothing_are_refused(one_line):
    for spec in (
        "bounded(eps=0)", "bounded(eps=-0.1)", "bounded(eps=1.1)", "bounded(eps=0.0039, round_8bit=True)",
        "concealed(eps=0.0)", "concealed(eps=0.003)", "concealed(contrast=0)", "concealed(contrast=1.5)",
    ):  # fmt: skip
        with pytest.raises(reprogram.ConfigError) as error:
            configure("programs", spec)
        one_line(error, spec.partition("(")[0])
    with pytest.raises(reprogram.ConfigError, match="covers the whole canvas"):
        tiny_model(program="bounded", canvas="resize")


@pytest.mark.parametrize("contrast", [1.0, 0.5, 0.1, 0.013])
@pytest.mark.parametrize("canvas", ["centre", "shuffled", "resize"])
def test_contrast_is_the_distance_from_the_background(canvas, contrast):
    full = tiny_model(program="full", canvas=canvas).canvas(images()).window.double().numpy()
    model = tiny_model(program="full", canvas=f"{canvas}(contrast={contrast})")
    got = model.canvas(images()).window.double().numpy()
    np.testing.assert_allclose(got, 0.5 + contrast * (full - 0.5), atol=1e-6)
    rounded = tiny_model(program="full", canvas=f"{canvas}(contrast={contrast}, round_8bit=True)")
    framed = rounded.canvas(images())
    stored = as_png(framed.window.numpy())
    np.testing.assert_allclose(framed.window.double().numpy() * 255, stored, atol=1e-4)
    assert np.abs(stored - 127.5).max() <= 127.5 * contrast + 1e-9
    assert np.abs(stored / 255 - got).max() <= 1 / 255


@pytest.mark.parametrize("options", ["contrast=0", "contrast=-0.5", "contrast=1.01", "contrast=0.003, round_8bit=True"])
def test_contrast_out_of_range_is_refused(options, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("canvases", f"centre({options})")
    one_line(error, "contrast")
