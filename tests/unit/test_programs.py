"""Programs and canvases beyond the paper against NumPy, pixel for pixel."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram import registry
from reprogram.framed import Box
from reprogram.model import compose
from reprogram.programs.base import Weighted
from reprogram.registry import configure

SIZE, BOX = 16, slice(4, 12)  # The canvas and the window of `tiny_model` with images of 8 x 8.
TASK = random_task(separable=False)


def images():
    return TASK.test.images


def build(program, canvas="centre", std=1.0, task=TASK, size=SIZE):
    model = tiny_model(task, program=program, canvas=canvas, size=size)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.program.parameters():
            parameter.normal_(0, std, generator=generator)
    return model


def numpy_of(tensor):
    return tensor.detach().double().numpy()


def drawn(model, pixels=None):
    with torch.no_grad():
        return numpy_of(model.program(model.canvas(images() if pixels is None else pixels)).dense())


def canvas_of(model):
    return numpy_of(model.canvas(images()).dense())


def framed_by(change, canvas):
    """The canvas with a change around the window."""
    change = np.array(change)
    change[..., BOX, BOX] = 0
    return np.clip(canvas + change, 0, 1)


@pytest.mark.parametrize("std", [0.2, 3.0])
@pytest.mark.parametrize("rank", [1, 3, 16])
def test_low_rank_is_the_frame_of_a_product(rank, std):
    model = build(f"low-rank(rank={rank})", std=std)
    program = model.program
    product = np.einsum("cyr,crx->cyx", numpy_of(program.columns)[0], numpy_of(program.rows)[0])
    assert all(np.linalg.matrix_rank(channel) == min(rank, SIZE) for channel in product)
    np.testing.assert_allclose(drawn(model), framed_by(np.tanh(product) / 2, canvas_of(model)), atol=1e-5)
    assert sum(p.numel() for p in program.parameters()) == 3 * rank * 2 * SIZE


@pytest.mark.parametrize("rank", [0, -1, 17, 10**12])
def test_a_rank_that_no_picture_has_is_refused(rank, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program=f"low-rank(rank={rank})")
    one_line(error, "from 1 to 16")


@pytest.mark.parametrize("spec,std", [("low-rank(rank=4, init=0.3)", 0.3), ("fourier(init=0.3)", 0.3)])
def test_parametrised_frames_start_with_the_given_deviation(spec, std):
    """In pixels before tanh, whatever the parametrisation: seen through the frame that they draw."""
    values = []
    for seed in range(4):
        model = tiny_model(program=spec, size=64, seed=seed)
        frame = numpy_of(model.program(model.canvas(images())).frame)[:, :, :28]  # Above the window.
        values.append(np.arctanh((frame - 0.5) * 2))
    assert np.std(values) == pytest.approx(std, rel=0.12)


@pytest.mark.parametrize("size", [16, (15, 18), (17, 13)])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_fourier_is_numpys_inverse_real_fft(power, size):
    height, width = (size, size) if isinstance(size, int) else size
    model = build(f"fourier(power={power})", size=size)
    weight = numpy_of(model.program.weight)[0]
    full = np.array(
        [
            [max(math.hypot(fy, fx), 1 / max(height, width)) ** -power for fx in np.fft.fftfreq(width)]
            for fy in np.fft.fftfreq(height)
        ]
    )
    scale = full[:, : width // 2 + 1] / math.sqrt(2 * (full**2).mean())
    pixels = np.fft.irfft2((weight[..., 0] + 1j * weight[..., 1]) * scale, s=(height, width), norm="ortho")
    change, window = np.tanh(pixels) / 2, model.canvas.geometry.window
    change[:, window.rows, window.columns] = 0
    np.testing.assert_allclose(drawn(model), np.clip(canvas_of(model) + change, 0, 1), atol=1e-5)


def test_fourier_learns_low_frequencies_first():
    """The same gradient of every pixel moves W where S is large."""
    model = build("fourier(power=1.0)", std=0.0)
    frame = model.program(model.canvas(images())).frame
    upstream = torch.zeros_like(frame)
    upstream[0, 0, 1, 1] = 1
    (gradient,) = torch.autograd.grad((frame * upstream).sum(), model.program.weight)
    size = gradient[0, 0].norm(dim=-1)
    assert size[1, 1] > 3 * size[7, 7]


def test_fourier_frequencies_out_of_range_are_refused(one_line):
    for power in (-0.1, 4.1):
        with pytest.raises(reprogram.ConfigError) as error:
            configure("programs", f"fourier(power={power})")
        one_line(error, "power")


@pytest.mark.parametrize("canvas", ["centre", "resize"])
@pytest.mark.parametrize("thickness", [1, 3, 4, 5, 7])
def test_border_is_added_to_whatever_is_there(thickness, canvas):
    model = build(f"border(thickness={thickness})", canvas)
    change = np.tanh(numpy_of(model.program.weight)) / 2
    change[..., thickness : SIZE - thickness, thickness : SIZE - thickness] = 0
    np.testing.assert_allclose(drawn(model), np.clip(canvas_of(model) + change, 0, 1), atol=1e-6)
    assert model.program.confined == (canvas == "centre" and thickness <= 4)


@pytest.mark.parametrize("thickness,word", [(0, "at least 1"), (-1, "at least 1"), (8, "16x16"), (10**9, "16x16")])
def test_border_that_does_not_fit_is_refused(thickness, word, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program=f"border(thickness={thickness})")
    one_line(error, f"thickness={thickness}", word)


def test_window_changes_the_window_alone():
    model = build("window")
    canvas = canvas_of(model)
    expected = canvas.copy()
    expected[..., BOX, BOX] += np.tanh(numpy_of(model.program.weight)) / 2
    np.testing.assert_allclose(drawn(model), np.clip(expected, 0, 1), atol=1e-6)
    framed = model.program(model.canvas(images()))
    assert torch.equal(framed.frame, model.canvas.frame) and not framed.frame.requires_grad


@pytest.mark.parametrize("std", [0.3, 1e30])
def test_multiplicative_is_a_factor_from_0_to_2(std):
    model = build("multiplicative", std=std)
    expected = canvas_of(model) * (1 + np.tanh(numpy_of(model.program.weight)))
    np.testing.assert_allclose(drawn(model), np.clip(expected, 0, 1), atol=1e-6)


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
    model = build(f"zoom(scale={scale})", canvas)
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
        place = (slice(None), window.top + row, window.left + column)
        covered = bilinear(ones, y, x)
        for n in range(2):
            expected[n][place] = bilinear(source[n], y, x) + (1 - covered) * (0.5 + change[place])
    np.testing.assert_allclose(drawn(model)[:2], np.clip(expected, 0, 1), atol=2e-5)


def test_zoom_of_1_is_the_frame_program():
    model, frame = build("zoom"), build("frame")
    model.program.z.data.zero_()
    frame.program.weight.data.copy_(model.program.weight.data)
    np.testing.assert_allclose(drawn(model), drawn(frame), atol=2e-6)


def test_zoom_learns_its_factor():
    """By finite differences, in float64."""
    model = build("zoom(scale=0.8)").double()
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


def masks_in_numpy(net, image):
    """The mask network on one image, c h w, in plain loops of NumPy and float64."""
    x = image
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            weight, padded = numpy_of(layer.weight), np.pad(x, ((0, 0), (1, 1), (1, 1)))
            views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
            x = np.einsum("ocij,cyxij->oyx", weight, views) + numpy_of(layer.bias)[:, None, None]
        elif isinstance(layer, nn.GroupNorm):
            x = (x - x.mean()) / np.sqrt(x.var() + layer.eps)
            x = x * numpy_of(layer.weight)[:, None, None] + numpy_of(layer.bias)[:, None, None]
        elif isinstance(layer, nn.ReLU):
            x = np.maximum(x, 0)
        elif isinstance(layer, nn.MaxPool2d):
            c, h, w = x.shape
            x = np.pad(x, ((0, 0), (0, h % 2), (0, w % 2)), constant_values=-np.inf)
            x = x.reshape(c, (h + 1) // 2, 2, (w + 1) // 2, 2).max(axis=(2, 4))
        else:
            x = 1 / (1 + np.exp(-x))
    h, w = image.shape[1:]
    rows, columns = (np.arange(n) * m // n for n, m in ((h, x.shape[1]), (w, x.shape[2])))
    return x[:, rows][:, :, columns]


@pytest.mark.parametrize("canvas,size", [("resize", 24), ("centre", 24), ("resize", (20, 27))])
def test_sample_specific_is_pattern_times_mask(canvas, size):
    model = build("sample-specific", canvas, std=0.3, size=size)
    before, window = canvas_of(model)[:3], model.canvas.geometry.window
    pattern = np.tanh(numpy_of(model.program.weight))[0] / 2
    frame = numpy_of(model.canvas.frame)[0]
    expected = np.repeat((frame + masks_in_numpy(model.program.mask, frame) * pattern)[None], 3, axis=0)
    for n, image in enumerate(before[:, :, window.rows, window.columns]):
        expected[n][:, window.rows, window.columns] = (
            image + masks_in_numpy(model.program.mask, image) * pattern[:, window.rows, window.columns]
        )
    np.testing.assert_allclose(drawn(model)[:3], np.clip(expected, 0, 1), atol=1e-5)


def test_sample_specific_has_the_originals_size_and_takes_no_random_numbers_of_the_process():
    state = torch.get_rng_state()
    model = tiny_model(program="sample-specific")
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(p.numel() for p in model.program.mask.parameters()) == 26_499
    again, other = (tiny_model(program="sample-specific", seed=s).learned_state() for s in (0, 1))
    same = model.learned_state()
    assert all(torch.equal(value, again[key]) for key, value in same.items())
    assert not torch.equal(same["program.mask.0.weight"], other["program.mask.0.weight"])


@pytest.mark.parametrize("side", [1, 2, 9])
def test_sample_specific_takes_windows_of_any_size(side):
    task = random_task(shape=(1, side, side), separable=False)
    model = tiny_model(task, program="sample-specific")
    assert np.isfinite(drawn(model, task.test.images)).all()


def test_a_random_patch_is_somewhere_and_stays_there(one_line):
    places = set()
    for seed in range(40):
        a, b = (tiny_model(program=f"patch(height=5, width=7, place='random', seed={seed})").program.box for _ in "ab")
        assert a == b and a.within(SIZE, SIZE) and (a.height, a.width) == (5, 7)
        places.add((a.top, a.left))
    rows, columns = {top for top, _ in places}, {left for _, left in places}
    assert len(places) > 20 and {0, 11} <= rows and {0, 9} <= columns
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program="patch(height=17, width=7, place='random')")
    one_line(error, "16x16")


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


def test_a_confined_program_without_a_frame_is_refused_even_if_its_author_forgot(one_line):
    class Forgetful(Weighted):
        confined = True

        def run(self, framed):
            return replace(framed, frame=framed.frame + self.weight)

    chosen = {family: configure(family, name) for family, name in (("canvases", "resize"), ("label-maps", "first"))}
    chosen["programs"] = (Forgetful, Forgetful.Config())
    shapes = {"image_shape": (1, 8, 8), "host_shape": (3, 16, 16), "num_host_labels": 9, "num_task_labels": 3}
    with pytest.raises(reprogram.ConfigError) as error:
        compose(chosen, **shapes)
    one_line(error, "covers the whole canvas")
    assert compose({**chosen, "canvases": configure("canvases", "centre")}, **shapes)
