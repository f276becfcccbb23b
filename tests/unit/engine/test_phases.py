"""The gradient of a strided convolution's input, phase by phase, against autograd's in float64."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from reprogram.engine.phases import phases

CASES = [
    (kernel, stride, padding)
    for kernel, stride in itertools.product([(1, 1), (2, 2), (3, 3), (5, 4), (1, 7)], [(1, 1), (2, 2), (3, 2), (1, 4)])
    for padding in [(0, 0), (1, 0), (2, 3)]
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("size", [(9, 12), (8, 7), (5, 7)], ids=str)
def test_each_pixel_gets_its_gradient(case: tuple[tuple[int, int], ...], size: tuple[int, int]) -> None:
    kernel, stride, padding = case
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, *kernel, generator=generator, dtype=torch.float64)
    images = torch.randn(2, 2, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    output = F.conv2d(images, weight, None, stride, padding)
    gradient = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(output, images, gradient)
    found = torch.full_like(wanted, torch.nan)
    for phase in phases(kernel, stride, padding):
        filters, pixels = phase.filters(weight), phase.of(found)
        if filters is None:
            pixels.zero_()
        elif pixels.numel():
            pixels.copy_(F.conv2d(phase.outputs(gradient, size), filters))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
