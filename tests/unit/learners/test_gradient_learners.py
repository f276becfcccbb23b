"""Adam, SGD and normalised SGD, and their schedules, against hand-written NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress
from reprogram.learners.normalized_sgd import NormalizedSGD

LR = 0.05


def learner(**options):
    return Adam(Adam.Config(**options))


def rate(built, fraction=0.0, epoch=0):
    return built.learning_rate(Progress(fraction=fraction, epoch=epoch))


@pytest.mark.parametrize(
    "fraction,factor", [(0, 1), (0.25, 0.853553391), (0.5, 0.5), (0.75, 0.146446609), (1, 0), (1.2, 0)]
)
def test_cosine_schedule(fraction, factor):
    assert rate(learner(learning_rate=0.1), fraction, epoch=77) == pytest.approx(0.1 * factor, abs=1e-9)


def test_step_schedule_advances_by_epochs_not_by_steps():
    """parth stepped it every batch: nothing was learned after one epoch."""
    built = learner(schedule="step")
    for epoch in range(20):
        for fraction in (0.0, 0.3, 0.999):
            assert rate(built, fraction, epoch) == pytest.approx(0.05 * 0.96 ** (epoch // 2))
    assert rate(learner(schedule="constant"), 0.9, 50) == 0.05


def test_the_loop_gives_the_schedule_epochs_and_fractions():
    task, model = random_task(n=(40, 12, 16)), tiny_model()
    seen = []

    class Spy(Adam):
        def learning_rate(self, progress):
            seen.append((progress.epoch, progress.fraction))
            return super().learning_rate(progress)

    reprogram.fit(model, task, learner=Spy(Adam.Config(schedule="step")), epochs=3, batch_size=16)
    assert [epoch for epoch, _ in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [fraction for _, fraction in seen] == pytest.approx([i / 9 for i in range(9)])


def numpy_adam(start, gradient, rates, betas=(0.9, 0.999), eps=1e-8):
    """Kingma and Ba (2015), algorithm 1, in float64."""
    w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t, lr in enumerate(rates, 1):
        g = gradient(w, t - 1)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        w = w - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.parametrize("penalty", [0.0, 0.05])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.99)])
def test_adam_is_numpys(schedule, penalty, betas):
    rng = np.random.default_rng(0)
    a, start = rng.normal(size=(25, 7)), rng.normal(size=7)
    parameter = nn.Parameter(torch.from_numpy(start.copy()))
    built = learner(schedule=schedule, penalty=penalty, betas=betas)
    built.start([parameter])
    for i in range(25):
        row = torch.from_numpy(a[i])
        built.step(lambda row=row: torch.tanh((row * parameter).sum()), Progress(fraction=i / 25, epoch=i // 5))
    rates = {
        "cosine": [LR * 0.5 * (1 + math.cos(math.pi * i / 25)) for i in range(25)],
        "step": [LR * 0.96 ** (i // 5 // 2) for i in range(25)],
        "constant": [LR] * 25,
    }[schedule]

    def gradient(w, i):
        return (1 - np.tanh(a[i] @ w) ** 2) * a[i] + 2 * penalty * w

    np.testing.assert_allclose(parameter.detach().numpy(), numpy_adam(start, gradient, rates, betas), rtol=1e-10)


def quadratic_steps(learner, start, count):
    """Where a learner gets to on the loss Σ a w² / 2, from a start."""
    from reprogram.registry import configure

    scale = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
    variant, config = configure("learners", learner)
    parameter = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    built = variant(config)
    built.start([parameter])
    for step in range(count):
        built.step(lambda: (scale * parameter.square()).sum() / 2, Progress(fraction=step / count, epoch=0))
    return parameter.detach().numpy(), built


def test_momentum_is_the_heavy_ball():
    w, velocity = np.array([1.0, -2.0, 0.3]), np.zeros(3)
    found, built = quadratic_steps("sgd(learning_rate=0.1, momentum=0.8, schedule='constant')", w.tolist(), 5)
    for _ in range(5):
        velocity = 0.8 * velocity + np.array([1.0, 3.0, 0.5]) * w
        w = w - 0.1 * velocity
    np.testing.assert_allclose(found, w, rtol=1e-12)
    state = built.state_dict()
    assert list(state) == ["0.momentum_buffer"]
    np.testing.assert_allclose(state["0.momentum_buffer"].numpy(), velocity, rtol=1e-12)


def test_normalized_steps_are_as_long_as_the_rate():
    found, _ = quadratic_steps("normalized-sgd(learning_rate=0.25, schedule='constant')", [1.0, -2.0, 0.3], 1)
    assert np.linalg.norm(found - [1.0, -2.0, 0.3]) == pytest.approx(0.25, rel=1e-12)
    still, _ = quadratic_steps("normalized", [0.0, 0.0, 0.0], 2)
    np.testing.assert_array_equal(still, 0)


@pytest.mark.parametrize("size", [1e-12, 1e-22, 1e-24, 1e-30, 1e-38, 1e-44])
def test_normalized_steps_of_tiny_gradients_are_no_longer(size):
    """In float32 the squares of such numbers are 0: the step was 10^15 times as long, and ended the program."""
    parameter = torch.nn.Parameter(torch.zeros(1000))
    built = NormalizedSGD(NormalizedSGD.Config(learning_rate=0.25, schedule="constant"))
    built.start([parameter])
    built.step(lambda: (torch.full((1000,), size) * parameter).sum(), Progress(fraction=0.0, epoch=0))
    np.testing.assert_allclose(parameter.detach().numpy(), -0.25 / 1000**0.5, rtol=1e-5)


def test_milestones_divide_by_ten_at_half_and_at_72_per_cent():
    learner = Adam(Adam.Config(learning_rate=0.2, schedule="milestones"))
    rates = [learner.learning_rate(Progress(fraction=f, epoch=0)) for f in (0, 0.49, 0.5, 0.71, 0.72, 1.0)]
    np.testing.assert_allclose(rates, [0.2, 0.2, 0.02, 0.02, 0.002, 0.002], rtol=1e-12)
