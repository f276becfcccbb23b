"""The kernels of half precision: each way to a convolution and its gradient, against float64 on the rounded numbers.

They sum in float32 and round the output once, by half a unit in the last place; nothing else may be lost.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine import correlation, onednn
from reprogram.engine.activations import RELU, Bounds
from reprogram.engine.convolution import Convolution
from reprogram.engine.correlation import Correlation
from reprogram.engine.linear import EngineLinear

BF16, F16 = torch.bfloat16, torch.float16
HAS_KERNELS = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)()
HALVES = [
    pytest.param((BF16, True), id="bfloat16 by oneDNN", marks=pytest.mark.skipif(not HAS_KERNELS, reason="no kernels")),
    pytest.param((BF16, False), id="bfloat16 in float32"),
    pytest.param((F16, False), id="float16 in float32"),
]
"""A type, and whether the processor is taken to multiply it in hardware."""


@pytest.fixture(params=HALVES)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.dtype]:
    """A type of half precision, on a processor that is made for it or on another."""
    dtype, fast = request.param
    monkeypatch.setattr(onednn, "fast_dtypes", lambda device: (dtype,) if fast else ())
    yield dtype


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random numbers of a type, in float64."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(dtype).double()


def assert_rounded(found: Tensor, wanted: Tensor, dtype: torch.dtype, *, roundings: int = 1) -> None:
    """Check that a result differs by no more than the rounding of its numbers, and of sums in float32."""
    assert found.dtype == dtype and found.shape == wanted.shape
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(
        found.double(), wanted, rtol=roundings * 0.51 * eps, atol=1e-4 * wanted.abs().mean().item()
    )


def run(layer: Correlation, images: Tensor, padding: tuple[int, int], dtype: torch.dtype) -> None:
    """Check a convolution and the gradient of its input, twice: the second time filters are there already."""
    given = images.requires_grad_()
    bias = None if layer.bias is None else layer.bias.double()
    options = layer.stride, padding, layer.dilation, layer.groups
    unclipped = F.conv2d(given, layer.weight.double(), bias, *options)
    gradient = normal(*unclipped.shape, seed=3, dtype=dtype)
    (wanted,) = torch.autograd.grad(unclipped, given, gradient)
    for _ in range(2):
        found = layer.correlate(images.detach().to(dtype), padding)
        assert_rounded(found, unclipped.detach().clamp(layer.bounds.low, layer.bounds.high), dtype)
        assert_rounded(layer.input_gradient(gradient.to(dtype), images.shape, padding), wanted, dtype)


KERNELS = [
    (kernel, stride, padding, dilation, groups)
    for kernel, stride, dilation, groups in itertools.product(((1, 1), (3, 3), (2, 5)), (1, 2), (1, 2), (1, 4, 32))
    for padding in ((0, 0), (1, 2))
]


@pytest.mark.parametrize("case", KERNELS, ids=str)
def test_a_convolution_and_the_gradient_of_its_input(case: tuple[Any, ...], dtype: torch.dtype) -> None:
    kernel, stride, padding, dilation, groups = case
    layer = Correlation(
        normal(64, 32 // groups, *kernel, seed=1).to(dtype),
        normal(64, seed=2).float(),
        stride=(stride, stride),
        dilation=(dilation, dilation),
        groups=groups,
    )
    layer.bounds = RELU
    run(layer, normal(3, 32, 9, 11, dtype=dtype), padding, dtype)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2), (1, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_large_filters_in_parts_and_phases(
    kernel: int, stride: int, bias: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the limits of small filters, so that small ones count as large."""
    weight = normal(96, 40, kernel, kernel, seed=1).to(dtype)
    for name, value in (("CACHE_BYTES", weight.nbytes // 2), ("PART_BYTES", weight.nbytes // 2), ("LARGE_FILTERS", 1)):
        monkeypatch.setattr(correlation, name, value)
    layer = Correlation(weight, normal(96, seed=2).float() if bias else None, stride=(stride, stride))
    layer.bounds = Bounds(low=0.0, high=6.0)
    run(layer, normal(correlation.MANY_IMAGES, 40, 8, 9, dtype=dtype), (1, 1), dtype)
    if onednn.runs(torch.zeros(1, dtype=dtype)):
        assert [len(part.weight) for part in layer._parts] == [64, 32]
        assert (("phases", (1, 1)) in layer._derived) == (stride > 1), "otherwise this proves nothing"


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 31)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bounds", [Bounds(), RELU, Bounds(low=-0.5, high=0.75)], ids=str)
def test_pixels_times_filters(size: tuple[int, int], stride: int, bounds: Bounds, dtype: torch.dtype) -> None:
    layer = Correlation(normal(13, 7, 1, 1, seed=1).to(dtype), normal(13, seed=2).float(), stride=(stride, stride))
    layer.bounds = bounds
    for images in (normal(2, 7, *size, dtype=dtype), normal(2, 9, *size, dtype=dtype)[:, 1:-1]):
        run(layer, images, (0, 0), dtype)


def test_an_output_may_be_overwritten_by_a_sum(dtype: torch.dtype) -> None:
    """Autograd refuses to where it is a view."""
    layer = Convolution(normal(4, 3, 1, 1).to(dtype), None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    images = normal(2, 3, 5, 5, dtype=dtype).to(dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(images).add_(1.0).sum(), images)
    assert gradient.shape == images.shape


@pytest.mark.parametrize("shape", [(5,), (1, 5), (300, 5), (2, 3, 4, 5), (2, 1, 600, 5), (0, 5)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_the_linear_layer(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    layer = nn.Linear(5, 7, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(normal(7, 5, seed=1, dtype=dtype))
    given = normal(*shape, dtype=dtype).requires_grad_()
    shift = layer.bias.double() if bias else None
    wanted = F.linear(given, layer.weight.double(), shift)
    factors = normal(*wanted.shape, seed=3, dtype=dtype)
    (wanted_gradient,) = torch.autograd.grad(wanted, given, factors)
    engine_layer = EngineLinear(layer)
    engine_layer.weight.data = layer.weight.detach().to(dtype)
    rows = given.detach().to(dtype).requires_grad_()
    found = engine_layer(rows)
    (gradient,) = torch.autograd.grad(found, rows, factors.to(dtype))
    if given.numel():
        assert_rounded(found.detach(), wanted.detach(), dtype)
        assert_rounded(gradient, wanted_gradient, dtype)
    assert found.shape == wanted.shape and gradient.shape == given.shape


@pytest.mark.parametrize(
    "bounds", [RELU, Bounds(low=0.0, high=6.0), Bounds(low=-0.7, high=0.7), Bounds(low=0.1)], ids=str
)
@pytest.mark.parametrize("large_bytes", [0, 2**30], ids=["mask", "output"])
def test_what_was_clipped_has_no_gradient(bounds: Bounds, large_bytes: int, dtype: torch.dtype) -> None:
    """Also where the bound itself, such as 0.7, is rounded inwards."""
    values = 3 * normal(2, 8, 9, 9, dtype=dtype)
    output = bounds.apply_(values.to(dtype).contiguous(memory_format=torch.channels_last))
    kept = bounds.kept(output, large_bytes=large_bytes)
    found = bounds.gradient(torch.ones_like(output), kept)
    far = (values < bounds.low * 1.01 - 0.01) | (values > bounds.high * 1.01 + 0.01)
    inside = (values > bounds.low + 0.01) & (values < bounds.high - 0.01)
    assert not found[far].any() and (found[inside] == 1).all()
    assert found.dtype == dtype


def test_a_gradient_in_another_layout_is_the_same() -> None:
    bounds = RELU
    output = bounds.apply_(normal(3, 8, 7, 7).float().contiguous(memory_format=torch.channels_last))
    gradient = normal(3, 8, 7, 7, seed=1).float()
    expected = gradient * (output > 0)
    for part in (gradient, gradient.contiguous(memory_format=torch.channels_last), gradient[:, :1].expand(3, 8, 7, 7)):
        found = bounds.gradient(part, output)
        assert torch.equal(found, part * (output > 0))
    assert torch.equal(bounds.gradient(gradient, output), expected)
