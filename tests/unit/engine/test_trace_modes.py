"""What a trace can't keep stays whole: gradients that are switched off or replaced, and autocast."""

import pytest
import torch
from torch import nn

from helpers import seeded
from reprogram import Host
from reprogram.framed import Box, Framed


class Reversed(torch.autograd.Function):
    """The identity, whose gradient has the other sign."""

    @staticmethod
    def forward(ctx, values):
        return values.view_as(values)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Rounded(torch.autograd.Function):
    """Rounding whose gradient is the identity's, as quantisation-aware training takes it."""

    @staticmethod
    def forward(ctx, values):
        return (values * 16).round() / 16

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def switched_off(net, maps):
    with torch.no_grad():
        return net.second(maps)


def inference(net, maps):
    with torch.inference_mode():
        scale = net.second(maps).mean()
    return maps * scale.clone()


def set_by_function(net, maps):
    with torch.set_grad_enabled(False):
        return net.second(maps)


def autocast(net, maps):
    with torch.autocast("cpu", torch.bfloat16):
        return net.second(maps).float()


CASES = {
    "reversed": lambda net, maps: Reversed.apply(maps),
    "rounded": lambda net, maps: Rounded.apply(maps),
    "no_grad": switched_off,
    "set_grad_enabled": set_by_function,
    "inference_mode": inference,
    "autocast": autocast,
}


class Part(nn.Module):
    """A convolution, and a second path through what a case does."""

    def __init__(self, act):
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), act

    def forward(self, images):
        maps = self.first(images)
        return torch.relu(maps + self.act(self, maps))


def net_of(name):
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Part(CASES[name]), nn.Flatten(), nn.Linear(4 * 144, 5)))


@pytest.mark.parametrize("first_call", [torch.enable_grad, torch.no_grad])
@pytest.mark.parametrize("name", CASES)
def test_scores_and_gradients_are_those_of_the_module(name, first_call):
    net = net_of(name).eval()
    with first_call():
        host = Host.wrap(net, size=12)
        host(torch.rand(1, 3, 12, 12))
    frame, window = torch.rand(1, 3, 12, 12), torch.rand(2, 3, 4, 4, requires_grad=True)
    framed = Framed(frame=frame, window=window, box=Box(top=4, left=4, height=4, width=4))
    expected, found = net(framed.dense()), host(framed)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    wanted, gradient = (torch.autograd.grad(scores.sin().sum(), window)[0] for scores in (expected, found))
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-4)


def test_tracing_calls_no_train_of_the_host():
    """`eval()` of this layer, as of one that always normalises by the batch, leaves it in training mode."""

    class Stubborn(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(True)

    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Stubborn(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5)))
    host, images = Host.wrap(net, size=12), torch.rand(3, 3, 12, 12)
    assert host.prepared.shares and not any(part.training for part in host.net.modules())
    with torch.no_grad():
        one_by_one = torch.cat([host(image[None]) for image in images])
        torch.testing.assert_close(host(images), one_by_one, rtol=1e-4, atol=1e-5)
