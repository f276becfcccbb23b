"""The questions beside the cells: noise, rounding, probabilities, NaN, hanging, masked gradients, their size."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from reprogram.auditing import probe
from reprogram.auditing.judging import decimals, gradients, judge
from reprogram.auditing.probe import Prober, in_time
from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts.base import Host

SIZE, CLASSES, IMAGES = 4, 5, 6
PIXELS = torch.rand(IMAGES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(IMAGES) % CLASSES


class Linear(nn.Module):
    """Scores that are linear in the pixels; `change` makes something else of them, call by call."""

    def __init__(self, change=lambda scores, call: scores):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(CLASSES, 3 * SIZE * SIZE, generator=generator))
        self.change, self.calls = change, 0

    def forward(self, pixels):
        self.calls += 1
        return self.change(pixels.flatten(1) @ self.weight.T, self.calls)


@pytest.fixture
def ask(tmp_path):
    """What the probe finds of a classifier."""

    def asked(change=lambda scores, call: scores, **options):
        host = Host.wrap(Linear(), size=SIZE, **options)
        host.net.change = change
        prober = Prober(host, PIXELS, LABELS, tmp_path)
        prober.begin()
        return prober.end()

    return asked


def test_a_steady_host_gives_no_cause(ask):
    found = ask()
    assert (found.images, found.passes, found.asked) == (IMAGES, 3, 4 * IMAGES)
    assert (found.disagreement, found.largest_difference, found.drift, found.decimals) == (0.0, 0.0, 0.0, None)
    assert not found.constant and not found.looks_normalised and found.zero_gradient == 0.0


def test_gradients_are_those_of_calculus():
    """Of softmax cross-entropy on a linear host: g = Wᵀ (p − y), here in NumPy."""
    host = Host.wrap(Linear(), size=SIZE)
    weight = host.net.weight.detach().double().numpy()
    scores = PIXELS.flatten(1).double().numpy() @ weight.T
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    g = (shares - np.eye(CLASSES)[LABELS]) @ weight
    found = gradients(host, PIXELS, LABELS)
    assert found["size"] == pytest.approx(np.abs(g.mean(axis=0)).sum(), rel=1e-5)
    alignment = np.linalg.norm(g.sum(axis=0)) / np.linalg.norm(g, axis=1).sum()
    assert found["alignment"] == pytest.approx(alignment, rel=1e-5)
    assert found["zero"] == 0.0


def scores(values):
    return torch.tensor(values, dtype=torch.float64)


def test_what_the_passes_say():
    host = Host.wrap(Linear(), size=SIZE)
    first = scores([[3.0, 1.0], [0.0, 2.0], [1.5, 0.0], [0.0, 1.0]])
    flipped = scores([[1.0, 3.0], [0.0, 2.0], [1.5, 0.0], [0.0, 1.0]])
    found = judge(first, flipped, first, host, {})
    assert (found.disagreement, found.drift, found.labels_used, found.zero_gradient) == (0.25, 0.0, 2, None)
    assert found.largest_difference == pytest.approx(np.exp(3) / (np.exp(3) + np.e) - np.e / (np.exp(3) + np.e))
    assert judge(first, first, flipped, host, {}).drift == 0.25
    assert judge(first.softmax(dim=1), first, None, host, {}).looks_normalised
    constant = judge(first[:1].repeat(4, 1), first, None, host, {})
    assert constant.constant and constant.passes == 2 and constant.drift is None


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([[0.87, 0.13], [0.61, 0.39], [0.5, 0.5]], 2), ([[7.0, 1.2], [3.0, 0.1]], 0), ([[0.8714523], [0.23411]], None),
        ([[0.5, 0.1], [0.5, 0.2]], None),  # One number alone says nothing.
        ([[0.9999998, 0.0], [0.9999999, 0.0], [0.99999994, 0.0]], None),  # Sure, and not rounded.
        ([[0.9999998, 0.0], [0.8714523, 0.1], [0.23411, 0.1]], None), ([[1.0, 0.0], [0.87, 0.13], [0.61, 0.39]], 2),
    ],
)  # fmt: skip
def test_decimals_are_counted(values, places):
    assert decimals(scores(values)) == places
    if places == 2:
        assert decimals(scores(values).log()) == 2


def test_probabilities_passed_as_logits_are_seen(ask):
    with pytest.warns(UserWarning, match="probabilities"):
        host = Host.wrap(nn.Sequential(Linear(), nn.Softmax(dim=1)), size=SIZE)
    found = judge(*[host(PIXELS).double().detach()] * 3, host, {})
    assert found.looks_normalised


def test_masked_gradients_are_seen():
    class Rounded(nn.Module):
        def forward(self, pixels):
            return (pixels * 4).round().flatten(1)[:, :CLASSES] + 0 * pixels.sum(dim=(1, 2, 3))[:, None]

    assert gradients(Host.wrap(Rounded(), size=SIZE), PIXELS, LABELS)["zero"] == 1.0


def test_a_host_whose_answers_are_saturated_has_next_to_no_gradient():
    """Probabilities of a sigmoid far out: what is left of the gradient is too small for any step, and isn't 0."""

    class Saturated(Linear):
        def forward(self, x):
            return torch.sigmoid(23.0 + super().forward(x) / 10)

    host = Host.wrap(Saturated(), size=SIZE)
    pixels = PIXELS.double().requires_grad_()
    host.net.double()(pixels).sum().backward()
    assert float(pixels.grad.abs().min()) > 0
    host.net.float()
    assert gradients(host, PIXELS, LABELS)["zero"] > 0.9


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s, call: s * float("nan"), "aren't finite"), (lambda s, call: s[:, :2], "scores of shape"),
    ],
)  # fmt: skip
def test_a_host_that_answers_otherwise_than_it_did_is_refused(ask, change, error):
    with pytest.raises((HostUnavailableError, ConfigError), match=error):
        ask(change)


def test_a_host_that_hangs_is_given_up():
    hanging = threading.Event()
    with pytest.raises(HostUnavailableError, match=r"gave no answer in 0\.05 seconds"):
        in_time(lambda: hanging.wait(10), 0.05, "slow")
    hanging.set()


def test_no_pass_is_asked_again(tmp_path):
    net = Linear()
    for end in (False, True, True):
        host = Host.wrap(net, size=SIZE)
        host.renew()
        prober = Prober(host, PIXELS, LABELS, tmp_path)
        prober.begin()
        found = prober.end() if end else None
        asked = host.meter.images
        if end:
            assert asked in (IMAGES, 0)
    assert found.asked == 4 * IMAGES and asked == 0
    assert probe.remember(tmp_path, {"a": 1}) == probe.remember(tmp_path, {"a": 2}) == {"a": 1}


def changing(**options):
    """A host, and a dictionary whose `change` is applied to its scores."""
    state = {"change": lambda scores: scores}
    net = Linear(lambda scores, call: state["change"](scores))
    return Host.wrap(
        net if options.get("access") != "scores" else lambda pixels: net(pixels), size=SIZE, **options
    ), state


def test_a_host_that_fails_in_the_end_leaves_a_report_of_what_is_known(tmp_path):
    host, state = changing()
    prober = Prober(host, PIXELS, LABELS, tmp_path)
    prober.begin()

    def fail(scores):
        raise KeyError("gone\nmore")

    state["change"] = fail
    found = prober.end()
    assert (found.passes, found.drift, found.drift_difference) == (2, None, None) and "gone" in found.error
    state["change"] = lambda scores: scores
    assert prober.end().error == "" and prober.end().drift == 0.0


@pytest.mark.parametrize("access", ["scores", "gradient"])
def test_where_cells_are_run_after_the_end_the_last_pass_is_asked_again(tmp_path, access):
    """A host that changed between is seen, though its top labels stayed; what was asked before stays on the bill."""
    host, state = changing(access=access)
    prober = Prober(host, PIXELS, LABELS, tmp_path)
    prober.begin()
    assert prober.end().drift_difference == 0.0
    spent = prober.spent
    state["change"] = lambda scores: 30 * torch.nn.functional.one_hot(scores.argmax(1), CLASSES).float()
    assert prober.end().drift_difference == 0.0  # Nothing is asked twice.
    prober.reopen()
    found = prober.end()
    assert found.drift == 0.0 and found.drift_difference > 0.2
    assert prober.spent == spent + IMAGES
