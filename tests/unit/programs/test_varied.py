"""Programs that look different on every image: the same image always the same, and what repeats is what should."""

import numpy as np
import pytest
import torch

import reprogram
from reprogram.framed import Box, Geometry
from reprogram.registry import configure

SPECS = (
    "jittered(pixels=4)",
    "dithered(eps=0.1)",
    "ensemble(members=3)",
    "disguised(pixels=4)",
    "lit",
    "lit(pixels=4)",
)


def drawn(spec, n=12, **options):
    task = reprogram.load_task(f"squares(train=20, validation=20, test={n})")
    host = reprogram.load_host("linear:48")
    model = reprogram.Reprogrammed.build(host, task, program=spec, seed=1, **options)
    with torch.no_grad():
        model.program.weight.mul_(20)
        return model, model.program(model.canvas(task.test.images)).dense(), task.test.images


@pytest.mark.parametrize("spec", SPECS)
def test_an_image_has_one_look_and_others_have_others(spec):
    model, pixels, images = drawn(spec)
    assert pixels.shape == (12, 3, 48, 48) and pixels.min() >= 0 and pixels.max() <= 1
    with torch.no_grad():
        assert torch.equal(model.program(model.canvas(images[[5, 2]])).dense(), pixels[[5, 2]])
    corners = {pixels[i, :, :2, :2].numpy().tobytes() for i in range(12)}
    assert 2 <= len(corners) <= (3 if "ensemble" in spec else 12)


def test_jittered_moves_frame_and_task_image_together():
    model, pixels, images = drawn("jittered(pixels=4)")
    large = (0.5 + torch.tanh(model.program.weight.detach()) / 2)[0]
    tasks = model.canvas(images).window
    places = set()
    for i in range(12):
        fits = []
        for down in range(9):
            for right in range(9):
                view = large.clone()
                view[:, 10:46, 10:46] = tasks[i]
                if torch.allclose(view[:, down : down + 48, right : right + 48], pixels[i]):
                    fits.append((down, right))
        assert len(fits) == 1
        places.add(fits[0])
    assert len(places) > 6


def test_dithered_stays_within_its_amplitude_and_leaves_the_task_image():
    model, pixels, images = drawn("dithered(eps=0.1, cell=5)")
    plain = (0.5 + torch.tanh(model.program.weight.detach()) / 2)[0]
    mask = model.canvas.geometry.mask()[0].bool().expand(3, -1, -1)
    away = (pixels - plain)[:, mask]
    assert away.abs().max() <= 0.1 + 1e-6 and 0.03 < away.std() < 0.07
    box = model.canvas.geometry.window
    torch.testing.assert_close(pixels[..., box.rows, box.columns], model.canvas(images).window)


def test_lit_is_one_contrast_and_one_tint_of_the_whole_frame():
    """What is drawn is found again by least squares from the frame's pixels: a line a channel, of the same slope."""
    model, pixels, images = drawn("lit(contrast=0.5, colour=0.1)")
    program = (torch.tanh(model.program.weight.detach()) / 2)[0].double().numpy()
    mask = model.canvas.geometry.mask()[0, 0].bool().numpy()
    contrasts, tints = [], []
    for image in pixels.double().numpy():
        lines = []
        for channel in range(3):
            inside = mask & (image[channel] > 0) & (image[channel] < 1)  # Nothing was clipped there.
            lines.append(np.polyfit(program[channel][inside], image[channel][inside] - 0.5, 1))
            np.testing.assert_allclose(
                np.polyval(lines[-1], program[channel][inside]), image[channel][inside] - 0.5, atol=1e-5
            )
        slopes, offsets = np.array(lines).T
        np.testing.assert_allclose(slopes, slopes[0], atol=1e-5)
        contrasts.append(slopes[0])
        tints.append(offsets)
    assert 0.5 <= min(contrasts) < 0.7 and 0.8 < max(contrasts) <= 1.0
    assert np.abs(tints).max() <= 0.1 + 1e-6 and np.std(tints) > 0.03
    box = model.canvas.geometry.window
    torch.testing.assert_close(pixels[..., box.rows, box.columns], model.canvas(images).window)


@pytest.mark.parametrize("spec", SPECS)
def test_while_learning_a_microbatch_shares_one_look(spec):
    model, _, images = drawn(spec)
    canvas = model.canvas(images)
    framed = model.program(canvas)
    assert framed.frame.requires_grad and framed.window is not None and framed.box.height == 36
    one = model.program(model.canvas(images[:1]))
    assert torch.equal(one.frame, framed.frame) and one.box == framed.box
    framed.frame.sum().backward()
    assert np.isfinite(model.program.weight.grad.numpy()).all() and model.program.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "spec,text",
    [
        ("jittered(pixels=7)", "1 to 6"),
        ("disguised(pixels=0)", "1 to 6"),
        ("dithered(eps=2.0)", "eps=2.0"),
        ("dithered(cell=0)", "cell=0"),
        ("lit(contrast=1.5)", "contrast=1.5"),
        ("lit(colour=-0.1)", "colour=-0.1"),
        ("lit(pixels=7)", "1 to 6"),
        ("ensemble(members=0)", "members=0"),
        ("disguised(sway=-1.0)", "sway"),
    ],
)
def test_what_makes_no_sense_is_refused(spec, text, one_line):
    geometry = Geometry(channels=3, height=48, width=48, window=Box(top=6, left=6, height=36, width=36))
    with pytest.raises(reprogram.ConfigError) as error:
        variant, config = configure("programs", spec)
        variant(config, geometry=geometry)
    one_line(error, text)


@pytest.mark.parametrize("spec", SPECS)
def test_a_learned_or_loaded_program_looks_at_each_image_by_itself(spec, tmp_path):
    """Also where gradients could be taken, as in a plain call of a model."""
    model, _, images = drawn(spec)
    task = reprogram.load_task("squares(train=20, validation=20, test=12)")
    reprogram.fit(model, task, images=20, validations=1)
    model.save(tmp_path / "p.safetensors")
    for one in (model, reprogram.load(tmp_path / "p.safetensors")):
        together, apart = one(images), torch.cat([one(image[None]) for image in images])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(together, one(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("program", ["disguised", "dithered", "ensemble", "jittered", "lit"])
@pytest.mark.parametrize("training", [False, True])
def test_no_images_have_no_scores(program, training):
    model = reprogram.Reprogrammed.build("linear:40", "digits", program=program).train(training)
    assert model(torch.zeros(0, *model.task.shape)).shape == (0, 10)
