"""Gradients, types and batches of every kind on a small host."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers_engine import PLACES, SIZE, batch, conv, gradients, host_of, largest_error, random_framed, small_host
from reprogram import Framed, Host


@pytest.mark.parametrize("wanted", ["frame", "window", "neither"])
def test_gradients_of_one_input_only(wanted: str) -> None:
    host, framed = small_host(), batch(3)
    expected = host.net((framed.dense() - host.mean) / host.std)
    parts = {"frame": framed.frame, "window": framed.window}
    for name, part in parts.items():
        part.requires_grad_(name == wanted)
    scores = host(framed)
    torch.testing.assert_close(scores, expected.detach(), rtol=1e-10, atol=1e-12)
    assert scores.requires_grad == (wanted != "neither")
    if wanted != "neither":
        found = torch.autograd.grad(scores.square().sum(), parts[wanted])
        parts["frame"].requires_grad_(), parts["window"].requires_grad_()
        again = host.net((framed.dense() - host.mean) / host.std)
        torch.testing.assert_close(found, torch.autograd.grad(again.square().sum(), parts[wanted]), rtol=1e-10, atol=0)


def test_two_backward_calls_and_two_batches_under_way() -> None:
    host, first, second = small_host(), batch(3), batch(2)
    one, two = host(first).square().sum(), host(second).square().sum()
    found = [torch.autograd.grad(one, (first.frame, first.window), retain_graph=True) for _ in range(2)]
    found.append(torch.autograd.grad(two, (second.frame, second.window)))
    wanted = []
    for framed in (first, first, second):
        total = host.net((framed.dense() - host.mean) / host.std).square().sum()
        wanted.append(torch.autograd.grad(total, (framed.frame, framed.window)))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_and_then_with_them(mode: Any) -> None:
    host, framed = small_host(), batch(3)
    with mode():
        scores = host(framed)
    assert not scores.requires_grad
    torch.testing.assert_close(scores.clone(), host(framed).detach(), rtol=1e-12, atol=1e-14)
    assert largest_error(host, framed) < 1e-10


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 2e-2), (torch.bfloat16, 1e-1)], ids=str
)
def test_smaller_types(dtype: torch.dtype, tolerance: float) -> None:
    host, framed = small_host(dtype), batch(3, dtype)
    exact = copy.deepcopy(host).double()
    double = Framed(frame=framed.frame.double(), window=framed.window.double(), box=framed.box)
    scores, wanted = host(framed), exact.net((double.dense() - exact.mean) / exact.std)
    assert scores.dtype == dtype
    assert (scores.double() - wanted).norm() < tolerance * wanted.norm()


def test_the_mean_of_large_half_precision_maps() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    nn.init.constant_(net[0].weight, 4.0)
    framed = random_framed(3, 128, PLACES[0], 2)
    halves = Framed(frame=framed.frame.detach().half(), window=framed.window.detach().half(), box=framed.box)
    scores = Host.wrap(net.half(), size=128)(halves)
    torch.testing.assert_close(scores.double(), net.double()(halves.dense().double()), rtol=1e-2, atol=0)


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_batch_and_a_single_image(size: int) -> None:
    host, framed = small_host(), batch(size)
    scores, to_frame, to_window = gradients(host, framed)
    assert scores.shape == (size, 5)
    assert to_window.shape == framed.window.shape
    if size:
        assert largest_error(host, framed) < 1e-10
    else:
        assert not to_frame.any()


@pytest.mark.parametrize("inside", [float("nan"), float("inf"), 1e9])
def test_what_the_frame_holds_inside_the_window_does_not_count(inside: float) -> None:
    host, framed = small_host(), batch(3)
    wanted = host(framed).detach()
    with torch.no_grad():
        framed.frame[..., framed.box.rows, framed.box.columns] = inside
    torch.testing.assert_close(host(framed).detach(), wanted, rtol=1e-9, atol=1e-9)


def test_functional_dropout_draws_for_each_image() -> None:
    with pytest.warns(UserWarning, match="depend on chance"):
        host = host_of(lambda n, x: F.dropout(n.a(x), 0.5).flatten(1))
    framed = batch(2)
    window = framed.window.detach()[:1].expand(2, -1, -1, -1)
    with torch.no_grad():
        scores = host(Framed(frame=framed.frame.detach(), window=window, box=framed.box))
    survived = scores != 0
    assert 0.4 < float((survived[0] == survived[1]).double().mean()) < 0.6


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_single_precision_convolutions_with_clipping(data: st.DataObject) -> None:
    """The processor's fused operation runs in float32 only."""
    torch.manual_seed(data.draw(st.integers(0, 99)))
    one, two = st.integers(1, 2), st.integers(1, 4)
    layer = nn.Conv2d(
        8,
        data.draw(st.sampled_from([8, 16])),
        (data.draw(two), data.draw(two)),
        (data.draw(one), data.draw(two)),
        (data.draw(st.integers(0, 3)), data.draw(one)),
        (data.draw(one), data.draw(one)),
        data.draw(st.sampled_from([1, 2, 8])),
        data.draw(st.booleans()),
    )
    infinite = float("inf")
    bounds = data.draw(st.sampled_from([(0, infinite), (0, 6), (-0.3, 0.7), (-0.1, infinite), (-infinite, 0.2)]))
    clip = nn.Hardtanh(*map(float, bounds))
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.SiLU(), layer, clip, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    host, framed = Host.wrap(net.eval(), size=SIZE), batch(data.draw(one), torch.float32)
    double = Framed(
        frame=framed.frame.detach().double().requires_grad_(),
        window=framed.window.detach().double().requires_grad_(),
        box=framed.box,
    )
    found = gradients(host, framed)
    scores = copy.deepcopy(net).double()(double.dense())
    total = (scores * torch.linspace(-1, 2, scores.numel()).double().view_as(scores)).sum()
    wanted = [scores.detach(), *torch.autograd.grad(total, (double.frame, double.window))]
    for a, b in zip(found, wanted, strict=True):
        assert (a.double() - b).norm() < 1e-4 * b.norm() + 1e-6
