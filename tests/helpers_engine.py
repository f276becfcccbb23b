"""What tests of the engine share: small nets, framed batches, and their error against dense execution."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram import Box, Framed, Host

SIZE = 24


PLACES = [
    Box(top=8, left=9, height=5, width=4),
    Box(top=0, left=17, height=7, width=7),
    Box(top=23, left=23, height=1, width=1),
    Box(top=1, left=0, height=22, width=24),
]


class Net(nn.Module):
    """Layers, and a function that says what to do with them."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], layers: dict[str, Any]) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(self, images)


def host_of(run: Callable[[Any, Tensor], Tensor], seed: int = 0, **layers: Any) -> Host:
    """A float64 host with random parameters; the layers `a` and `b` are there without being asked for."""
    net = Net(run, {"a": conv(), "b": conv(kernel=5), **layers})
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.3, generator=generator)
    return Host.wrap(net.double().eval(), size=SIZE)


def pooled(maps: Tensor) -> Tensor:
    """The mean of every map."""
    return maps.mean((2, 3))


def conv(channels: int = 3, out: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that keeps the maps' size, if nothing else is said."""
    return nn.Conv2d(channels, out, kernel, **{"padding": kernel // 2, **options})


def gradients(host: Host, framed: Framed) -> list[Tensor]:
    """Scores, and the gradients of a fixed sum of them."""
    scores = host(framed)
    total = (scores * torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).view_as(scores)).sum()
    return [scores.detach(), *torch.autograd.grad(total, (framed.frame, framed.window))]


def batch(size: int, dtype: torch.dtype = torch.float64) -> Framed:
    """A batch in the middle, with gradients."""
    framed = random_framed(3, SIZE, PLACES[0], size, seed=size)
    frame, window = (pixels.detach().to(dtype).requires_grad_() for pixels in (framed.frame, framed.window))
    return Framed(frame=frame, window=window, box=framed.box)


def small_host(dtype: torch.dtype = torch.float64) -> Host:
    """A host with most of what convolutional networks do."""

    def run(n: Any, x: Tensor) -> Tensor:
        y = n.r(n.n(n.a(x)))
        y = n.p(F.relu(n.c(y) + y))
        return n.l(n.d(y).mean((2, 3)))

    layers = {"n": nn.BatchNorm2d(4), "r": nn.ReLU6(inplace=True), "c": conv(4, 4), "p": nn.MaxPool2d(2)}
    return host_of(run, **layers, d=conv(4, 6, groups=2), l=nn.Linear(6, 5)).to(dtype)


def largest_error(host: Host, framed: Framed) -> float:
    """Relative error of scores and of the gradients of frame and window, against the untouched module run dense."""
    inputs = framed.frame, framed.window
    scores = host(framed)
    images = framed.frame.repeat(len(framed), 1, 1, 1)
    images[..., framed.box.rows, framed.box.columns] = framed.window
    expected = host.net((images - host.mean) / host.std)
    cotangent = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((scores * cotangent).sum(), inputs, allow_unused=True, materialize_grads=True)
    wanted = torch.autograd.grad((expected * cotangent).sum(), inputs, allow_unused=True, materialize_grads=True)
    pairs = [(scores.detach(), expected.detach()), *zip(found, wanted, strict=True)]
    return max(float((a - b).norm() / b.norm().clamp_min(1e-200)) for a, b in pairs)


def random_framed(channels: int, size: int, box: Box, batch: int, seed: int = 0) -> Framed:
    """Random pixels that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.rand(1, channels, size, size, dtype=torch.float64, generator=generator).requires_grad_()
    window = torch.rand(batch, channels, box.height, box.width, dtype=torch.float64, generator=generator)
    return Framed(frame=frame, window=window.requires_grad_(), box=box)


def limits(size: int) -> nn.Parameter:
    """A limit for each column."""
    return nn.Parameter(torch.zeros(size))
