"""The kernels that only float32 takes: oneDNN's, packed filters, turned filters, products; against float64 PyTorch."""

import copy
import itertools
import pickle
import timeit

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram import Host
from reprogram.engine import correlation, onednn
from reprogram.engine.activations import Bounds
from reprogram.engine.convolution import Convolution
from reprogram.engine.linear import EngineLinear

TOLERANCE = 2e-6


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(found: Tensor, wanted: Tensor) -> float:
    """Relative, of all values together."""
    assert found.dtype == torch.float32 and found.shape == wanted.shape
    return float((found.double() - wanted).norm() / wanted.norm())


CASES = [
    (kernel, stride, padding, dilation, groups)
    for kernel, stride, dilation, groups in itertools.product(((1, 1), (3, 3), (2, 5)), (1, 2), (1, 2), (1, 4, 32))
    for padding in ((0, 0), (1, 2))
]


@pytest.mark.parametrize("size", [(6, 9), (40, 31)], ids=["packed", "not packed"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_convolution_and_the_gradient_of_its_input(case: tuple, size: tuple[int, int]) -> None:
    kernel, stride, padding, dilation, groups = case
    images, weight, bias = normal(3, 32, *size), normal(64, 32 // groups, *kernel, seed=1), normal(64, seed=2)
    assert (images[:, 0].numel() <= correlation.PACKED_UP_TO) == (size == (6, 9))
    layer = Convolution(
        weight.float(),
        bias.float(),
        stride=(stride, stride),
        padding=padding,
        dilation=(dilation, dilation),
        groups=groups,
    )
    assert onednn.runs(images.float()), "otherwise this proves nothing"
    images.requires_grad_()
    wanted = F.conv2d(images, weight, bias, stride, padding, dilation, groups)
    factors = normal(*wanted.shape, seed=3)
    (wanted_gradient,) = torch.autograd.grad((wanted * factors).sum(), images)
    for again in range(2):  # The second time filters are there already.
        given = images.detach().float().requires_grad_()
        found = layer(given)
        (gradient,) = torch.autograd.grad(found, given, factors.float())
        assert distance(found.detach(), wanted.detach()) < TOLERANCE, again
        assert distance(gradient, wanted_gradient) < TOLERANCE, again


@pytest.mark.parametrize("limit", [0, float("inf")], ids=["by oneDNN", "by the BLAS"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_pixels_times_filters_by_either_library(
    limit: float, stride: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlation, "SMALL_PRODUCT", limit)
    images, weight = normal(2, 8, 9, 7).requires_grad_(), normal(5, 8, 1, 1, seed=1)
    shift = normal(5, seed=2) if bias else None
    layer = Convolution(
        weight.float(),
        shift.float() if shift is not None else None,
        stride=(stride, stride),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
    )
    layer.bounds = Bounds(low=0.0, high=1.5)
    wanted = F.conv2d(images, weight, shift, stride).clamp(0, 1.5)
    (wanted_gradient,) = torch.autograd.grad(wanted.square().sum(), images)
    given = images.detach().float().requires_grad_()
    found = layer(given)
    (gradient,) = torch.autograd.grad(found.square().sum(), given)
    assert distance(found.detach(), wanted.detach()) < TOLERANCE
    assert distance(gradient, wanted_gradient) < TOLERANCE


def test_filters_packed_for_one_size_serve_every_size_and_padding() -> None:
    weight = normal(48, 32, 3, 3, seed=1)
    layer = Convolution(weight.float(), None, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)
    for batch, size, padding in [(1, 7, 1), (2, 15, 1), (1, 3, 0), (9, 7, 2), (1, 22, 0), (1, 7, 1)]:
        images = normal(batch, 32, size, size, seed=size)
        found = layer.padded(images.float(), (padding, padding))
        assert distance(found, F.conv2d(images, weight, padding=padding)) < TOLERANCE


@pytest.mark.parametrize("shape", [(5,), (1, 5), (300, 5), (2, 3, 4, 5), (2, 1, 600, 5)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_the_linear_layer(shape: tuple[int, ...], bias: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Linear(5, 7, bias=bias)
    given = normal(*shape).requires_grad_()
    wanted = copy.deepcopy(layer).double()(given)
    (wanted_gradient,) = torch.autograd.grad(wanted.square().sum(), given)
    images = given.detach().float().requires_grad_()
    found = EngineLinear(layer)(images)
    (gradient,) = torch.autograd.grad(found.square().sum(), images)
    assert distance(found.detach(), wanted.detach()) < TOLERANCE
    assert distance(gradient, wanted_gradient) < TOLERANCE


def test_a_product_of_nothing_and_of_other_types() -> None:
    layer = nn.Linear(5, 7)
    assert EngineLinear(layer)(torch.zeros(0, 5)).shape == (0, 7)
    exact = EngineLinear(layer.double())(normal(2, 5))
    torch.testing.assert_close(exact, layer(normal(2, 5)), rtol=0, atol=0)


class Mixed(nn.Module):
    """A convolution, a normalisation over the channels and linear layers, as ConvNeXt's blocks are made."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 4, stride=4)
        self.norm = nn.LayerNorm(32)
        self.wide, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)
        self.head = nn.Linear(32, 11)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images).permute(0, 2, 3, 1)
        maps = maps + self.narrow(F.gelu(self.wide(self.norm(maps))))
        return self.head(maps.permute(0, 3, 1, 2).mean((2, 3)))


def test_a_host_that_has_run_is_copied_and_pickled_as_if_it_had_not() -> None:
    """Packed filters have no storage that could be copied."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Mixed()
    host, images = Host.wrap(net, size=32), normal(2, 3, 32, 32).sigmoid().float()
    scores = host(images)
    wanted = copy.deepcopy(net).double()(images.double())
    assert distance(scores.detach(), wanted.detach()) < TOLERANCE
    for twin in (copy.deepcopy(host), pickle.loads(pickle.dumps(host))):  # noqa: S301
        torch.testing.assert_close(twin(images), scores, rtol=0, atol=0)


def test_weights_changed_after_a_call_are_seen() -> None:
    net = Mixed()
    host, images = Host.wrap(net, size=32), normal(2, 3, 32, 32).sigmoid().float()
    host(images)
    with torch.no_grad():
        net.wide.weight.mul_(-2)
        net.first.weight.mul_(3)
    assert distance(host(images).detach(), copy.deepcopy(net).double()(images.double()).detach()) < TOLERANCE


@pytest.mark.alone
def test_filters_are_laid_out_for_each_input_anew() -> None:
    """In another input's layout they were 600 ms a call on a processor with AVX2, in their own 5 to 60 ms."""
    filters = onednn.Filters(normal(36 * 512, 512, 1, 1).float(), groups=36)
    expected = filters.plain().clone()
    times: dict[int, float] = {}
    for columns in (8, 64, 16, 24, 256, 8):
        maps = normal(1, 36 * 512, columns, 1).float().to(memory_format=torch.channels_last)
        laid_out = filters.for_input(maps)
        assert laid_out is filters.for_input(maps.clone()), "once for a shape"
        found = onednn.correlate(maps, laid_out, groups=36)
        assert distance(found, F.conv2d(maps.double(), expected.double(), groups=36)) < TOLERANCE
        times[columns] = min(timeit.repeat(lambda: onednn.correlate(maps, laid_out, groups=36), number=1, repeat=3))  # noqa: B023
    assert torch.equal(filters.plain(), expected)
    fastest = min(seconds / (1 + columns / 8) for columns, seconds in times.items())
    assert all(seconds < 20 * fastest * (1 + columns / 8) for columns, seconds in times.items()), times
