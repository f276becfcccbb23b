"""Activations that keep little for the backward pass: values and gradients."""

import pytest
import torch
from torch import nn

import reprogram
from reprogram.engine.activations import RELU, Bounds


@pytest.mark.parametrize("bounds", [RELU, Bounds(low=0.0, high=6.0), Bounds(low=-1.0, high=1.0)])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 7, 7), (3, 64, 56, 56), (0, 5, 7, 7), (1, 1, 1, 1)])
def test_a_mask_gives_the_gradient_of_the_output_that_it_stands_for(bounds, shape, overwrite):
    generator = torch.Generator().manual_seed(0)
    values = (3 * torch.randn(shape, generator=generator)).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(values.shape, generator=generator)
    expected = gradient * ((values > bounds.low) & (values < bounds.high))
    output = bounds.apply_(values.clone())
    for kept, dtype in ((bounds.kept(output, large_bytes=0), torch.uint8), (bounds.kept(output), torch.float32)):
        assert kept.dtype == dtype
        assert torch.equal(bounds.gradient(gradient.clone(), kept, overwrite=overwrite), expected)


@pytest.mark.parametrize("layer", [nn.ReLU6, lambda **k: nn.Hardtanh(-0.3, 0.4, **k), nn.ReLU, nn.SiLU])
@pytest.mark.parametrize("inplace", [False, True])
def test_activations_keep_values_and_gradients(layer, inplace):
    """Also where the input lies exactly on a bound."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), layer(inplace=inplace), nn.Flatten()).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3).view(3, 3, 1, 1) * 10)
    host = reprogram.Host.wrap(net, size=4, mean=(0.5,) * 3, std=(1.0,) * 3)
    pixels = torch.linspace(0, 1, 48, dtype=torch.float64).view(1, 3, 4, 4).clone()
    pixels[0, 0, 0, :] = torch.tensor([0.5, 1.1, 0.47, 0.54])
    factors = torch.randn(1, 48, generator=torch.Generator().manual_seed(0)).double()
    results = []
    for function in (host, lambda x: net((x - 0.5) / 1.0)):
        x = pixels.clone().requires_grad_()
        y = function(x)
        results.append((y.detach(), torch.autograd.grad((y * factors).sum(), x)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


class ClipsTwiceInPlace(nn.Module):
    """Two in-place operations on one map: the second writes into what the first keeps for its gradient."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = nn.ReLU6(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x):
        maps = self.convolution(x)
        return (self.first(maps) * self.second(maps)).mean((2, 3))


def test_a_map_that_is_clipped_in_place_twice_has_its_gradient():
    host = reprogram.Host.wrap(ClipsTwiceInPlace().double(), size=8)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    found, wanted = (torch.autograd.grad(run(images).square().sum(), images)[0] for run in (host, host.net))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "bounds", [Bounds(low=-1.0, high=1.0), Bounds(low=0.0), Bounds(low=0.0, high=6.0), Bounds(low=-2.0, high=0.5)]
)
def test_a_mask_gives_the_gradient_that_the_output_gives(bounds):
    """Zeros inside the bounds have a gradient too."""
    values = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 6.0, 7.0], dtype=torch.float64)
    output = bounds.apply_(values.clone())
    expected = ((output > bounds.low) & (output < bounds.high)).double()
    for large_bytes in (0, 2**30):
        assert torch.equal(
            bounds.gradient(torch.ones_like(output), bounds.kept(output, large_bytes=large_bytes)), expected
        )
