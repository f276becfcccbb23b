"""Programs of so many pixels against NumPy."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from helpers_components import BOX, SIZE, drawn, images, randomize_weight

WHERE = ["outermost", "innermost", "random"]


def changed(pixels):
    """Pixels of the frame that differ from the background in any channel."""
    different = (pixels[0] != 0.5).any(axis=0)
    different[BOX, BOX] = False
    return different


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("pixels", [1, 20, 100, 192])
def test_sized_changes_exactly_so_many_pixels_and_no_task_pixel(pixels, where):
    model = tiny_model(program=f"sized(pixels={pixels}, where={where!r}, init=1.0)")
    got = drawn(model)
    assert changed(got).sum() == pixels
    np.testing.assert_allclose(got[:, :, BOX, BOX], images().numpy() / 255.0, atol=1e-7)
    values = np.sort(got[0][:, changed(got)].ravel())
    expected = np.sort(0.5 + np.tanh(model.program.weight.detach().double().numpy().ravel()) / 2)
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_outermost_and_innermost_are_sorted_by_their_distance():
    """Every pixel that is taken is at least as far out, or in, as every pixel that isn't."""
    for where in WHERE[:2]:
        taken = changed(drawn(tiny_model(program=f"sized(pixels=70, where={where!r}, init=1.0)")))
        frame = np.ones((SIZE, SIZE), bool)
        frame[BOX, BOX] = False
        y, x = np.mgrid[:SIZE, :SIZE]
        edge = np.min([y, x, SIZE - 1 - y, SIZE - 1 - x], axis=0)
        near = np.max([4 - y, y - 11, 4 - x, x - 11], axis=0)
        distance = edge if where == "outermost" else near
        assert distance[taken].max() <= distance[frame & ~taken].min()


def test_sized_is_a_function_of_its_seed():
    for where in WHERE:
        a, b, c = (
            changed(drawn(tiny_model(program=f"sized(pixels=50, where={where!r}, seed={s}, init=1.0)")))
            for s in (1, 1, 2)
        )
        assert (a == b).all() and (a != c).any()


@pytest.mark.parametrize("program", ["sized", "sparse"])
@pytest.mark.parametrize("pixels", [0, -3, 193, 10**15])
def test_pixels_that_the_frame_has_not_are_refused(program, pixels, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program=f"{program}(pixels={pixels})")
    one_line(error, str(pixels))
    with pytest.raises(reprogram.ConfigError, match="covers the whole canvas"):
        tiny_model(program=f"{program}(pixels=3)", canvas="resize")


def test_sparse_draws_the_pixels_that_score_highest_and_moves_them():
    task = random_task()
    model = tiny_model(task, program="sparse(pixels=30)")
    start = model.program.choice().detach()[0, 0].numpy()
    reprogram.fit(model, task, epochs=6, batch_size=8, validations=6, learner="adam(learning_rate=0.1)")
    scores = model.program.scores.detach()[0, 0].numpy().copy()
    scores[BOX, BOX] = -np.inf
    expected = np.zeros(SIZE * SIZE)
    expected[np.argsort(-scores.ravel())[:30]] = 1
    choice = model.program.choice().detach()[0, 0].numpy()
    np.testing.assert_array_equal(choice.ravel(), expected)
    assert changed(drawn(model)).sum() == start.sum() == 30
    assert (choice != start).any(), "the choice was learned"


def test_sparse_passes_the_gradient_straight_through_the_choice():
    """d loss / d score = sum over channels of d loss / d P times tanh(W) / 2, drawn or not; nothing in the window."""
    model = randomize_weight(tiny_model(program="sparse(pixels=30)"), 1.0)
    upstream = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    frame = model.program.run(model.canvas(images())).frame
    score_gradient, weight_gradient = torch.autograd.grad(
        (frame * upstream).sum(), [model.program.scores, model.program.weight]
    )
    expected = (upstream.double() * torch.tanh(model.program.weight.double()) / 2).sum(1, keepdim=True)
    expected[..., BOX, BOX] = 0
    torch.testing.assert_close(score_gradient.double(), expected, atol=1e-5, rtol=1e-4)
    assert ((weight_gradient != 0).any(dim=1)[0].numpy() == (model.program.choice()[0, 0].detach().numpy() == 1)).all()
