"""Invariants 3 and 4: canvas, program and normalisation against NumPy, pixel for pixel."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import reprogram
from helpers import random_task
from reprogram.canvases.base import match_channels, to_unit
from reprogram.canvases.shuffled import Shuffled
from reprogram.framed import Box, Framed, Geometry
from reprogram.registry import configure

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixels_host(size=(20, 24), channels=3, mean=MEAN, std=STD):
    """A host whose scores are the normalised pixels that its net is given."""
    return reprogram.Host.wrap(nn.Flatten(), size=size, channels=channels, mean=mean, std=std, name="pixels")


def build(program, task, canvas="centre", size=(20, 24), channels=3, seed=1, scale=1.0):
    mean, std = (MEAN, STD) if channels == 3 else ((0.3,), (0.6,))
    host = pixels_host(size, channels, mean, std)
    model = reprogram.Reprogrammed.build(host, task, canvas=canvas, program=program, seed=seed)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        model.program.weight.copy_(torch.randn(model.program.weight.shape, generator=generator) * scale)
    return model


def reference(name, weight, images, size, place, config=None):
    """The canvas of the paper, in NumPy float64: images n c h w in 0..255, weight C H W."""
    n, _, h, w = images.shape
    height, width = size
    top, left = place
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
    model = build(program, task, scale=scale)
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
    model = build("frame", task, channels=1)
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
    model = build(program, task)
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
    model = build("frame", task, scale=0.1)
    scores = model.host(model.program(model.canvas(task.test.images[:4])))
    (gradient,) = torch.autograd.grad((scores * torch.randn_like(scores)).sum(), model.program.weight)
    assert gradient[:, :, 6:14, 8:16].abs().max() == 0
    outside = gradient.clone()
    outside[:, :, 6:14, 8:16] = 1
    assert outside.ne(0).all()


def test_black_and_white_task_pixels_stay_black_and_white():
    """Sigmoid(W * M) would add 0.5 here (facts/peers.md, fault 3)."""
    task = random_task(shape=(1, 8, 8))
    model = build("frame", task)
    for value in (0, 255):
        images = torch.full((1, 1, 8, 8), value, dtype=torch.uint8)
        assert (model.program(model.canvas(images)).dense()[:, :, 6:14, 8:16] == value / 255).all()


@pytest.mark.parametrize("name,confined", [(p, p.startswith("patch(top=14")) for p in PATCHES])
def test_patch_declares_what_it_is(name, confined):
    task = random_task(shape=(3, 8, 9))
    model = build(name, task)
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
        model = build(f"frame(round_8bit={rounded})", task, scale=0.3)
        scores = model.host(model.program(model.canvas(task.test.images[:2])))
        grads.append(torch.autograd.grad(scores.sum(), model.program.weight)[0])
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0].abs().max() > 0


@pytest.mark.parametrize("program", ["frame", "full", "patch(top=3, left=5, height=9, width=9)"])
def test_pixels_stay_valid_for_extreme_weights(program):
    task = random_task(shape=(3, 8, 8), separable=False)
    model = build(program, task)
    for value in (-1e30, 1e30):
        model.program.weight.data.fill_(value)
        pixels = model.program(model.canvas(task.test.images)).dense()
        assert torch.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1
        assert (pixels == float(value > 0)).any()


@pytest.mark.parametrize("top,left,height,width", [(0, 0, 21, 1), (0, 23, 1, 2), (20, 0, 1, 1), (0, 0, 100000, 100000)])
def test_patch_outside_the_canvas_is_refused(top, left, height, width, one_line):
    spec = f"patch(top={top}, left={left}, height={height}, width={width})"
    with pytest.raises(reprogram.ConfigError) as error:
        build(spec, random_task(shape=(3, 8, 8)))
    one_line(error, "20x24")


@pytest.mark.parametrize("bad", ["top=-1", "left=-1", "height=0", "width=-3", "init=-1.0"])
def test_patch_without_a_place_is_refused(bad, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("programs", f"patch({bad})")
    one_line(error)


def test_frame_on_a_full_canvas_is_refused(one_line):
    task = random_task(shape=(3, 8, 8))
    with pytest.raises(reprogram.ConfigError) as error:
        build("frame", task, canvas="resize")
    one_line(error, "full")
    with pytest.raises(reprogram.ConfigError):
        build("frame", random_task(shape=(3, 20, 24)))


def test_start_values_are_normal_of_the_given_deviation_and_a_function_of_the_seed():
    task = random_task(shape=(3, 8, 8))
    host = pixels_host((64, 64))
    a, b, c = (
        reprogram.Reprogrammed.build(host, task, program="full(init=0.3)", seed=s).program.weight.detach()
        for s in (7, 7, 8)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert abs(float(a.mean())) < 0.02 and float(a.std()) == pytest.approx(0.3, rel=0.03)


def test_shuffled_is_one_permutation_of_whole_pixels():
    task = random_task(shape=(3, 8, 8), separable=False)
    model = build("frame", task, canvas="shuffled(seed=4)")
    window = model.canvas(task.test.images).window
    flat, original = window.flatten(2).numpy(), (task.test.images.float() / 255).flatten(2).numpy()
    order = [next(j for j in range(64) if np.array_equal(original[:, :, j], flat[:, :, i])) for i in range(64)]
    assert sorted(order) == list(range(64)) and order != list(range(64))
    again, other = (build("frame", task, canvas=f"shuffled(seed={s})").canvas(task.test.images).window for s in (4, 5))
    assert torch.equal(window, again) and not torch.equal(window, other)


def test_resize_is_pillows_antialiased_bilinear():
    task = random_task(shape=(3, 50, 46), separable=False, n=(8, 4, 4))
    model = build("full", task, canvas="resize")
    framed = model.canvas(task.test.images[:1])
    assert framed.box == Box(top=0, left=0, height=20, width=24)
    for channel in range(3):
        image = Image.fromarray(task.test.images[0, channel].numpy().astype(np.float32) / 255, mode=None)
        expected = np.asarray(image.resize((24, 20), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(framed.window[0, channel].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("h,w,top,left", [(8, 8, 6, 8), (7, 9, 6, 7), (20, 24, 0, 0), (1, 1, 9, 11)])
def test_centre_places_as_the_paper_does(h, w, top, left):
    task = random_task(shape=(3, h, w), separable=False)
    framed = build("full", task).canvas(task.test.images)
    assert framed.box == Box(top=top, left=left, height=h, width=w)
    canvas = np.full((16, 3, 20, 24), 0.5, dtype=np.float32)
    canvas[:, :, top : top + h, left : left + w] = task.test.images.numpy().astype(np.float32) / 255
    np.testing.assert_array_equal(framed.dense().numpy(), canvas)


@pytest.mark.parametrize("canvas", ["centre", "shuffled"])
def test_a_task_image_larger_than_the_canvas_is_refused(canvas, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build("full", random_task(shape=(3, 21, 8)), canvas=canvas)
    one_line(error, "21x8", "20x24", "resize")


def test_framed_dense_is_the_hand_built_canvas():
    rng = np.random.default_rng(0)
    frame, window = rng.random((1, 2, 6, 7)), rng.random((5, 2, 3, 2))
    framed = Framed(
        frame=torch.from_numpy(frame), window=torch.from_numpy(window), box=Box(top=1, left=4, height=3, width=2)
    )
    expected = np.repeat(frame, 5, axis=0)
    expected[:, :, 1:4, 4:6] = window
    np.testing.assert_array_equal(framed.dense().numpy(), expected)
    assert len(framed) == 5
    np.testing.assert_array_equal(framed.frame.numpy(), frame)
    mask = np.ones((6, 7))
    mask[1:4, 4:6] = 0
    np.testing.assert_array_equal(framed.geometry.mask()[0, 0].numpy(), mask)


def test_box_intersection_against_pixel_sets():
    def pixels(box):
        return set(itertools.product(range(*box.rows.indices(99)[:2]), range(*box.columns.indices(99)[:2])))

    rng = np.random.default_rng(1)
    for _ in range(200):
        a, b = (
            Box(top=t, left=le, height=h, width=w)
            for t, le, h, w in ([*rng.integers(0, 6, 2).tolist(), *rng.integers(1, 5, 2).tolist()] for _ in range(2))
        )
        both = a.intersection(b)
        assert (pixels(both) if both else set()) == pixels(a) & pixels(b)
        assert a.within(7, 7) == (max(p[0] for p in pixels(a)) < 7 and max(p[1] for p in pixels(a)) < 7)


def test_a_window_that_does_not_fit_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        Geometry(channels=3, height=8, width=8, window=Box(top=4, left=0, height=5, width=2))
    one_line(error, "8x8")


def test_batch_of_another_geometry_is_refused():
    a = build("frame", random_task(shape=(3, 8, 8)))
    b = build("frame", random_task(shape=(3, 8, 10)))
    with pytest.raises(reprogram.ConfigError):
        a.program(b.canvas(torch.zeros(1, 3, 8, 10, dtype=torch.uint8)))


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
    model = build("frame", random_task(shape=(3, 8, 8)))
    with pytest.raises(reprogram.DataError) as error:
        model(images)
    one_line(error, text)


def test_uint8_and_unit_floats_give_the_same_canvas():
    task = random_task(shape=(3, 8, 8), separable=False)
    model = build("frame", task)
    images = task.test.images
    assert torch.equal(model.canvas(images).window, model.canvas(images.float() / 255).window)
    assert torch.equal(to_unit(images, torch.float64), images.double() / 255)


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
