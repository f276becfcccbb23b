"""The exponential average of what is learned: its values, and where they are shown."""

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress


def test_the_average_is_numpys_and_only_shown():
    """1 / t of each of the first t values, then the exponential average; the learned values go on as without it."""
    rng, keep = np.random.default_rng(0), 0.8
    start, targets = rng.normal(size=7), rng.normal(size=(25, 7))
    with_average, without = (nn.Parameter(torch.from_numpy(start.copy())) for _ in range(2))
    built, plain = (Adam(Adam.Config(ema=share)) for share in (keep, 0.0))
    built.start([with_average])
    plain.start([without])
    expected = np.zeros(7)
    for i, target in enumerate(torch.from_numpy(targets)):
        progress = Progress(fraction=i / 25, epoch=0)
        built.step(lambda target=target: (with_average - target).square().sum(), progress)
        plain.step(lambda target=target: (without - target).square().sum(), progress)
        share = max(1 - keep, 1 / (i + 1))
        expected = (1 - share) * expected + share * without.detach().numpy()
        assert torch.equal(with_average, without)
    with built.eval_weights():
        np.testing.assert_allclose(with_average.detach().numpy(), expected, rtol=1e-12)
    assert torch.equal(with_average, without)
    with plain.eval_weights():
        assert torch.equal(with_average, without)


def test_what_validation_saw_is_what_is_kept():
    """The average, and not the values that learning goes on with."""
    task = random_task()
    models = [tiny_model(task) for _ in range(2)]
    average, plain = (
        reprogram.fit(model, task, epochs=2, batch_size=8, validations=4, learner=f"adam(ema={keep})")
        for model, keep in zip(models, (0.9, 0.0), strict=True)
    )
    assert not torch.equal(models[0].program.weight, models[1].program.weight)
    assert [row["loss"] for row in average.history] == [row["loss"] for row in plain.history], "learned alike"
    assert reprogram.evaluate(models[0], task.validation).loss == pytest.approx(average.validation.loss, rel=1e-6)
