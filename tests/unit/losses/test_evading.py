"""The loss that evades a detector of the host's scores, by NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

import reprogram
from reprogram.losses.base import Answered
from reprogram.training.losses import loss_named


def answered(requires_grad=False):
    host = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    host = host.requires_grad_() if requires_grad else host
    return Answered(host=host, task=host[:, :4], labels=torch.arange(6) % 4)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("threshold", [None, -0.5])
@pytest.mark.parametrize("detector", ["largest-softmax", "energy"])
def test_it_adds_what_lies_above_the_threshold(detector, threshold, low):
    host = answered().host.numpy()
    score = -2 * logsumexp(host / 2, axis=1) if detector == "energy" else -softmax(host / 2, axis=1).max(1)
    score, threshold = (-score, threshold and -threshold) if low else (score, threshold)
    above = score if threshold is None else np.maximum(score - threshold, 0)
    options = f"temperature=2.0, low={low}, weight=3.0, threshold={threshold}"
    found = loss_named(f"evading(loss='margin', detector={detector!r}, {options})")
    expected = loss_named("margin").losses(answered()).numpy() + 3 * above
    np.testing.assert_allclose(found.losses(answered()), expected)
    values = answered(requires_grad=True)
    assert torch.autograd.grad(found.losses(values).sum(), values.host)[0].abs().sum() > 0


def test_it_is_what_the_other_loss_is():
    assert not loss_named("evading(loss='rank')").differentiable
    assert loss_named("evading(loss='leave-one-out')").whole_batch
    assert not loss_named("evading(loss='host')").bounded
    with pytest.raises(reprogram.ConfigError, match="evades already"):
        loss_named("evading(loss='evading')")
