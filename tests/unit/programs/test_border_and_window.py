"""Programs on, around and within the task image against NumPy, pixel for pixel."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import reprogram
from helpers import tiny_model
from helpers_components import BOX, SIZE, canvas_of, drawn, images, noisy_model, numpy_of
from reprogram.adapter import compose
from reprogram.programs.base import DenseProgram
from reprogram.registry import configure


@pytest.mark.parametrize("canvas", ["centre", "resize"])
@pytest.mark.parametrize("thickness", [1, 3, 4, 5, 7])
def test_border_is_added_to_whatever_is_there(thickness, canvas):
    model = noisy_model(f"border(thickness={thickness})", canvas)
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
    model = noisy_model("window")
    canvas = canvas_of(model)
    expected = canvas.copy()
    expected[..., BOX, BOX] += np.tanh(numpy_of(model.program.weight)) / 2
    np.testing.assert_allclose(drawn(model), np.clip(expected, 0, 1), atol=1e-6)
    framed = model.program(model.canvas(images()))
    assert torch.equal(framed.frame, model.canvas.frame) and not framed.frame.requires_grad


@pytest.mark.parametrize("std", [0.3, 1e30])
def test_multiplicative_is_a_factor_from_0_to_2(std):
    model = noisy_model("multiplicative", std=std)
    expected = canvas_of(model) * (1 + np.tanh(numpy_of(model.program.weight)))
    np.testing.assert_allclose(drawn(model), np.clip(expected, 0, 1), atol=1e-6)


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


def test_a_confined_program_without_a_frame_is_refused_even_if_its_author_forgot(one_line):
    class Forgetful(DenseProgram):
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
