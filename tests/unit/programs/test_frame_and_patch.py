"""Invariants 3 and 4: canvas, program and normalisation against NumPy, pixel for pixel."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task
from helpers_components import MEAN, STD, pixels_host, pixels_model
from reprogram.registry import configure


def reference(name, weight, images, size, corner, config=None):
    """The canvas of the paper, in NumPy float64: images n c h w in 0..255, weight C H W."""
    n, _, h, w = images.shape
    height, width = size
    top, left = corner
    x = np.full((n, 3, height, width), 0.5)
    x[:, :, top : top + h, left : left + w] = np.broadcast_to(images / 255.0, (n, 3, h, w))
    if name == "frame":
        mask = np.ones((height, width))
        mask[top : top + h, left : left + w] = 0
        return x + np.tanh(weight * mask) / 2
    if name == "full":
        return np.clip(x + np.tanh(weight) / 2, 0, 1)
    t, le, ph, pw = config
    x[:, :, t : t + ph, le : le + pw] = (1 + np.tanh(weight)) / 2
    return x


PATCHES = {
    "patch(top=1, left=2, height=4, width=5)": (1, 2, 4, 5),
    "patch(top=3, left=5, height=7, width=8)": (3, 5, 7, 8),
    "patch(top=7, left=9, height=3, width=2)": (7, 9, 3, 2),
    "patch(top=0, left=0, height=20, width=24)": (0, 0, 20, 24),
    "patch(top=14, left=20, height=6, width=4)": (14, 20, 6, 4),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [0.1, 3.0])
@pytest.mark.parametrize("program", ["frame", "full", *PATCHES])
def test_host_sees_the_papers_canvas_normalised_once(program, scale, channels):
    """Program and task pixels alike go through (p - mean) / std, once, inside the host."""
    task = random_task(shape=(channels, 8, 9), separable=False)
    model = pixels_model(program, task, scale=scale)
    images = task.test.images[:3]
    got = model.host(model.program(model.canvas(images))).detach().numpy().reshape(3, 3, 20, 24)
    weight = model.program.weight[0].detach().double().numpy()
    canvas = reference(
        program.partition("(")[0], weight, images.double().numpy(), (20, 24), (6, 7), PATCHES.get(program)
    )
    expected = (canvas - np.array(MEAN).reshape(3, 1, 1)) / np.array(STD).reshape(3, 1, 1)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-6)


def test_grey_host_sees_luma_of_a_colour_task():
    task = random_task(shape=(3, 8, 8), separable=False)
    model = pixels_model("frame", task, channels=1)
    images = task.test.images[:4]
    got = model.host(model.canvas(images)).numpy().reshape(4, 1, 20, 24)
    luma = (images.double() / 255 * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    np.testing.assert_allclose(got[:, :, 6:14, 8:16], (luma.numpy() - 0.3) / 0.6, atol=1e-5)
    np.testing.assert_allclose(got[:, :, :6], (0.5 - 0.3) / 0.6, atol=1e-6)


CONFINED = ["frame", "frame(init=2.0, round_8bit=True)", "patch(top=0, left=0, height=6, width=24)"]


@pytest.mark.parametrize("value", [None, 0.0, 1e30, -1e30])
@pytest.mark.parametrize("program", CONFINED)
def test_confined_programs_change_nothing_inside_the_window(program, value):
    """No half-grey leak: the task image reaches the host bit for bit, whatever the weights are."""
    task = random_task(shape=(3, 8, 8), separable=False)
    model = pixels_model(program, task)
    if value is not None:
        model.program.weight.data.fill_(value)
    assert model.program.confined
    images = task.test.images
    drawn = model.program(model.canvas(images))
    window = drawn.dense()[:, :, 6:14, 8:16]
    assert torch.equal(window, images.float() / 255)
    assert torch.equal(drawn.window, images.float() / 255)
    if value != 0.0:
        assert not torch.equal(drawn.frame, model.canvas.frame)


def test_frame_has_no_gradient_inside_the_window_and_some_outside():
    task = random_task(shape=(3, 8, 8))
    model = pixels_model("frame", task, scale=0.1)
    scores = model.host(model.program(model.canvas(task.test.images[:4])))
    (gradient,) = torch.autograd.grad((scores * torch.randn_like(scores)).sum(), model.program.weight)
    assert gradient[:, :, 6:14, 8:16].abs().max() == 0
    outside = gradient.clone()
    outside[:, :, 6:14, 8:16] = 1
    assert outside.ne(0).all()


def test_black_and_white_task_pixels_stay_black_and_white():
    """Sigmoid(W * M) would add 0.5 here."""
    task = random_task(shape=(1, 8, 8))
    model = pixels_model("frame", task)
    for value in (0, 255):
        images = torch.full((1, 1, 8, 8), value, dtype=torch.uint8)
        assert (model.program(model.canvas(images)).dense()[:, :, 6:14, 8:16] == value / 255).all()


@pytest.mark.parametrize("name,confined", [(p, p.startswith("patch(top=14")) for p in PATCHES])
def test_patch_declares_what_it_is(name, confined):
    task = random_task(shape=(3, 8, 9))
    model = pixels_model(name, task)
    t, left, h, w = PATCHES[name]
    overlaps = t < 14 and t + h > 6 and left < 16 and left + w > 7
    assert model.program.confined == (not overlaps)


@pytest.mark.parametrize(
    "spec",
    [
        "frame(init=3.0, round_8bit=True)",
        "full(init=3.0, round_8bit=True)",
        "patch(top=3, left=5, height=7, width=8, init=3.0, round_8bit=True)",
    ],
)
def test_rounding_makes_every_pixel_one_of_256_values(spec):
    """A saved 8-bit PNG is then the very same input."""
    task = random_task(shape=(3, 8, 8), separable=False)
    model = reprogram.Reprogrammed.build(pixels_host(), task, program=spec, seed=1)
    canvas = model.program(model.canvas(task.test.images)).dense()
    drawn = canvas.clone()
    if "frame" in spec or "patch" in spec:
        outside = model.program.geometry.mask().expand_as(drawn) == 1
        untouched = (canvas == 0.5) & outside if "patch" in spec else torch.zeros_like(outside)
        drawn = drawn[~untouched]
    levels = drawn.double() * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    assert len(torch.unique(levels.round())) > 50
    assert canvas.min() >= 0 and canvas.max() <= 1


def test_rounded_frame_covers_the_whole_canvas_with_8bit_values():
    """A program of zeros leaves mid-grey, which has no 8-bit value: it must be rounded as well."""
    task = random_task(shape=(3, 8, 8), separable=False)
    for spec in ("frame(init=0.0, round_8bit=True)", "patch(height=4, width=4, round_8bit=True)"):
        model = reprogram.Reprogrammed.build(pixels_host(), task, program=spec)
        levels = model.program(model.canvas(task.test.images)).dense().double() * 255
        assert (levels - levels.round()).abs().max() < 1e-4, spec


def test_gradient_passes_straight_through_the_rounding():
    task = random_task(shape=(3, 8, 8))
    grads = []
    for rounded in (False, True):
        model = pixels_model(f"frame(round_8bit={rounded})", task, scale=0.3)
        scores = model.host(model.program(model.canvas(task.test.images[:2])))
        grads.append(torch.autograd.grad(scores.sum(), model.program.weight)[0])
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0].abs().max() > 0


@pytest.mark.parametrize("program", ["frame", "full", "patch(top=3, left=5, height=9, width=9)"])
def test_pixels_stay_valid_for_extreme_weights(program):
    task = random_task(shape=(3, 8, 8), separable=False)
    model = pixels_model(program, task)
    for value in (-1e30, 1e30):
        model.program.weight.data.fill_(value)
        pixels = model.program(model.canvas(task.test.images)).dense()
        assert torch.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1
        assert (pixels == float(value > 0)).any()


@pytest.mark.parametrize("top,left,height,width", [(0, 0, 21, 1), (0, 23, 1, 2), (20, 0, 1, 1), (0, 0, 100000, 100000)])
def test_patch_outside_the_canvas_is_refused(top, left, height, width, one_line):
    spec = f"patch(top={top}, left={left}, height={height}, width={width})"
    with pytest.raises(reprogram.ConfigError) as error:
        pixels_model(spec, random_task(shape=(3, 8, 8)))
    one_line(error, "20x24")


@pytest.mark.parametrize("bad", ["top=-1", "left=-1", "height=0", "width=-3", "init=-1.0"])
def test_patch_without_a_place_is_refused(bad, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("programs", f"patch({bad})")
    one_line(error)


def test_frame_on_a_full_canvas_is_refused(one_line):
    task = random_task(shape=(3, 8, 8))
    with pytest.raises(reprogram.ConfigError) as error:
        pixels_model("frame", task, canvas="resize")
    one_line(error, "full")
    with pytest.raises(reprogram.ConfigError):
        pixels_model("frame", random_task(shape=(3, 20, 24)))


def test_start_values_are_normal_of_the_given_deviation_and_a_function_of_the_seed():
    task = random_task(shape=(3, 8, 8))
    host = pixels_host((64, 64))
    a, b, c = (
        reprogram.Reprogrammed.build(host, task, program="full(init=0.3)", seed=s).program.weight.detach()
        for s in (7, 7, 8)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert abs(float(a.mean())) < 0.02 and float(a.std()) == pytest.approx(0.3, rel=0.03)
