"""Hosts of which it is known what can be got out of them: each is what it says it is."""

import warnings

import numpy as np
import pytest
import torch

from reprogram.errors import ConfigError
from reprogram.hosts._factory import load_host
from reprogram.tasks._factory import load_task

COLOURS = [torch.tensor([r, g, b]).view(3, 1, 1) for r in (0.0, 1.0) for g in (0.0, 1.0) for b in (0.0, 1.0)]
CORNERS = [(top, left) for top in (0, 26) for left in (0, 26)]


@pytest.fixture(scope="module")
def task():
    return load_task("parity(train=100, validation=20, test=150)")


def host(kind, seed=0, **options):
    extra = "".join(f"&{name}={value}" for name, value in options.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return load_host(f"known-answer:{kind}?seed={seed}{extra}")


def canvas(task, frame=0.5):
    """The boards of the test split in the middle of a frame of one value, or of 3 × 32 × 32 pixels."""
    images = torch.zeros(len(task.test), 3, 32, 32) + frame
    images[:, :, 8:24, 8:24] = task.test.images / 255
    return images


def keys(kind):
    """Every frame that may be the key: a colour all around, or a patch of one in a corner."""
    if kind != "shortcut":
        yield from COLOURS
        return
    for top, left in CORNERS:
        for colour in COLOURS[1:5]:  # Blue, green, both, red: one of a single channel is the key.
            frame = torch.full((3, 32, 32), 0.5)
            frame[:, top : top + 6, left : left + 6] = colour
            yield frame


def accuracy(answering, images, task):
    return (answering(images)[:, :4].argmax(dim=1) == task.test.labels).double().mean().item()


@pytest.mark.parametrize("kind", ["hijackable", "shortcut", "masked", "probabilities", "stochastic"])
def test_with_the_key_they_say_the_parities_and_without_it_they_do_not(kind, task):
    answering = host(kind, seed=3)
    assert accuracy(answering, canvas(task), task) < 0.5
    reached = [accuracy(answering, canvas(task, key), task) for key in keys(kind)]
    assert max(reached) > (0.97 if kind == "stochastic" else 0.999)


@pytest.mark.parametrize("kind", ["constant", "blind", "random-labels", "linear", "untrained"])
def test_no_key_makes_the_others_say_them(kind, task):
    answering = host(kind)
    values = [accuracy(answering, canvas(task, key), task) for key in (*keys("hijackable"), *keys("shortcut"))]
    assert max(values) < 0.44  # 0.25 + 5 standard errors of 150 images.


def test_a_constant_host_says_the_same_of_everything(task):
    scores = host("constant")(torch.rand(5, 3, 32, 32))
    assert (scores == scores[0]).all()


def test_a_blind_host_sees_the_frame_alone(task):
    answering = host("blind")
    scores = answering(canvas(task)[:9])
    assert (scores == scores[0]).all()
    assert not torch.allclose(answering(canvas(task, 0.9)[:1]), scores[:1])


def test_random_labels_are_the_same_again_and_spread(task):
    answering = host("random-labels")
    labels = answering(canvas(task)).argmax(dim=1)
    assert (answering(canvas(task)).argmax(dim=1) == labels).all()
    counts = np.bincount(labels, minlength=12)
    assert ((counts - 150 / 12) ** 2 / (150 / 12)).sum() < 40  # Chi-square of 11 degrees of freedom: p > 3e-5.
    assert (host("random-labels", 1)(canvas(task)).argmax(dim=1) != labels).double().mean() > 0.8
    moved = canvas(task)
    moved[:, 0, 0, 0] = 0.6
    assert (answering(moved).argmax(dim=1) != labels).double().mean() > 0.8


def test_a_linear_host_is_linear():
    answering, (a, b) = host("linear"), torch.rand(2, 1, 3, 32, 32)
    middle = answering((a + b) / 2)
    torch.testing.assert_close(middle, (answering(a) + answering(b)) / 2, atol=1e-5, rtol=1e-5)


def test_a_masked_host_has_no_gradient_and_the_others_have_one(task):
    for kind, masked in (("masked", True), ("hijackable", False)):
        images = canvas(task)[:8].requires_grad_()
        (gradient,) = torch.autograd.grad(host(kind)(images)[:, :4].sum(), images)
        assert (not gradient.any()) == masked


def test_a_stochastic_host_disagrees_with_itself(task):
    answering = host("stochastic")
    first, second = (answering(canvas(task)).argmax(dim=1) for _ in range(2))
    assert 0.1 < (first != second).double().mean() < 0.95


def test_a_changing_host_changes_once_and_says_nothing(task):
    answering = host("changing")
    before = answering(canvas(task)[:100])
    for _ in range(4):
        answering(canvas(task)[:100])
    after = answering(canvas(task)[:100])
    assert (after.roll(-5, dims=1) == before).all()
    assert (answering(canvas(task)[:100]) == after).all()


def test_probabilities_are_probabilities(task):
    scores = host("probabilities")(canvas(task))
    assert (scores >= 0).all() and torch.allclose(scores.sum(dim=1), torch.ones(150), atol=1e-5)


def test_the_skill_is_the_accuracy_that_can_be_got(task):
    answering = host("hijackable", skill=0.7)
    reached = max(accuracy(answering, canvas(task, key), task) for key in COLOURS)
    assert abs(reached - 0.7) < 4 * (0.7 * 0.3 / 150) ** 0.5


def test_an_untrained_twin_keeps_the_key_and_knows_nothing(task):
    twin = host("hijackable").untrained(0)
    assert twin.info.id == "known-answer:untrained" and twin.info.num_classes == 12


def test_unknown_kinds_and_impossible_skills_are_refused():
    with pytest.raises(ConfigError, match="hijackable"):
        load_host("known-answer:nosuch")
    with pytest.raises(ConfigError, match="skill"):
        load_host("known-answer:shortcut?skill=0.2")
