"""Every form of every operation on shared maps, against the untouched module run dense in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers_engine import PLACES, SIZE, conv, host_of, largest_error, limits, pooled, random_framed


def twice(maps: Tensor, use: Callable[[Tensor], Tensor]) -> Tensor:
    """What reads a map and what `use` makes of it."""
    return pooled(use(maps) * maps)


def added_in_place(n: Any, x: Tensor) -> Tensor:
    """An older name of the map that is added to."""
    y = n.a(x)
    old = y
    y += n.b(x)
    return pooled(F.relu(y) * old)


def added_to_a_viewed_map(n: Any, x: Tensor) -> Tensor:
    """A view of the map that is added to."""
    y = n.a(x)
    part = y[:, :2]
    y += n.b(x)
    return pooled(n.c(y)) * pooled(part).sum(1, keepdim=True)


def added_to_a_permuted_map(n: Any, x: Tensor) -> Tensor:
    """A permuted view of the map that is added to."""
    y = n.a(x)
    turned = y.permute(0, 2, 3, 1)
    y += n.b(x)
    return pooled(n.c(y)) * turned.mean((1, 2))


def channels_last_in_place(n: Any, x: Tensor) -> Tensor:
    """A product in place of permuted maps, the first of which is read again."""
    y = n.n(n.a(x).permute(0, 2, 3, 1))
    z = y.mul_(n.m(n.b(x).permute(0, 2, 3, 1)))
    return (y * z).mean((1, 2))


def split_in_three(n: Any, x: Tensor) -> Tensor:
    """Channels taken apart, exchanged and multiplied."""
    first, second, third = torch.split(n.a(x), [1, 2, 1], dim=1)
    return pooled(n.c(torch.cat([second, first], 1)) * third)


def conv_next_block(n: Any, x: Tensor) -> Tensor:
    """Norm and linear layers on permuted maps, scaled and added."""
    y = n.a(x)
    z = n.out(F.gelu(n.up(F.layer_norm(n.norm(y.permute(0, 2, 3, 1)), (4,)))))
    return pooled(y + (n.scale * z).permute(0, 3, 1, 2))


def average_pools(n: Any, x: Tensor) -> Tensor:
    """Positional and keyword arguments, divisors that depend on the position."""
    first = F.avg_pool2d(n.a(x), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    second = F.avg_pool2d(n.b(x), kernel_size=(3, 3), stride=2, padding=1, ceil_mode=True, divisor_override=-3)
    third = F.avg_pool2d(n.b(x), (3, 3), (2, 2), (1, 1), True, True)
    return pooled(n.c(first * second + third))


def max_pools(n: Any, x: Tensor) -> Tensor:
    """Positional and keyword arguments, dilation, half windows, indices."""
    y = n.a(x)
    first = F.max_pool2d(y, 3, 2, ceil_mode=True) + F.max_pool2d(y, kernel_size=3, stride=2, ceil_mode=True)
    second = F.max_pool2d(y, (3, 1), (2, 3), (1, 0), (2, 1), True)
    return torch.cat([pooled(n.c(part)) for part in (first, second, F.max_pool2d(y, 2, return_indices=True)[0])], 1)


def adaptive_pools(n: Any, x: Tensor) -> Tensor:
    """Sizes that divide, that don't, that are left open."""
    y = n.a(x)
    sizes = [(3, 2), 5, (None, 1), [1, 1], SIZE, (SIZE, 1)]
    pools = [F.adaptive_avg_pool2d(y, size) for size in sizes]
    return torch.cat([part.flatten(1) for part in (*pools, F.adaptive_max_pool2d(y, 2))], 1)


def means(n: Any, x: Tensor) -> Tensor:
    """Every way to ask for a mean."""
    y = n.a(x)
    return (
        y.mean(-1).mean(-1)
        + torch.mean(y, dim=[-1, -2])
        + y.mean(dim=(3, 2), keepdim=True).flatten(1)
        + y.mean((2, 3), True).flatten(1)
        + y.mean(1).mean((1, 2))[:, None]
    )


def functional_convolutions(n: Any, x: Tensor) -> Tensor:
    """Positional and keyword arguments."""
    y = n.a(x)
    first = F.conv2d(y, weight=n.w, padding="same", dilation=2)
    return pooled(F.relu(first + F.conv2d(y, n.w, None, 1, (1, 1))) + F.conv2d(y, n.w, None, (1,), (1,)))


class InPlaceInside(nn.Module):
    """Can't be traced, and writes into its input."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.relu_() * 2 if maps.shape[0] >= 0 else maps


class ReadsAWeight(nn.Module):
    """Reads a parameter before it turns out that it can't be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps * self.scale
        return maps * 2 if maps.shape[0] >= 0 else maps


def clipped_between(n: Any, x: Tensor) -> Tensor:
    """Bounds without a number between them."""
    y = n.a(x)
    return pooled(n.c(F.hardtanh(F.hardtanh(y, -1.0, -0.5), -0.4, 0.5))) + pooled(y)


def gate(n: Any, x: Tensor) -> Tensor:
    """Squeeze and excitation."""
    y = n.a(x)
    return pooled(n.c(y * torch.sigmoid(n.c(y.mean((2, 3), keepdim=True)))))


SQUARE = {"c": lambda: conv(4, 4)}


CASES: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Callable[[], Any]]]] = {
    "+= on another name": (added_in_place, {}),
    "+= under a view": (added_to_a_viewed_map, SQUARE),
    "+= under a permutation": (added_to_a_permuted_map, SQUARE),
    "in place, permuted": (
        channels_last_in_place,
        {"n": lambda: nn.LayerNorm(4), "m": lambda: nn.LayerNorm(4)},
    ),
    "in place by keyword": (
        lambda n, x: twice(n.a(x), lambda y: n.c(n.r(input=y))),
        {**SQUARE, "r": lambda: nn.ReLU(inplace=True)},
    ),
    "function in place by keyword": (lambda n, x: twice(n.a(x), lambda y: F.relu(input=y, inplace=True)), {}),
    "method in place by keyword": (lambda n, x: twice(n.a(x), lambda y: y.add_(other=n.b(x))), {}),
    "in place chain": (lambda n, x: pooled(n.a(x).add_(n.b(x)).mul_(2).relu_()), {}),
    "in place behind a pool to the same size": (
        lambda n, x: twice(n.a(x), lambda y: n.c(F.relu_(F.adaptive_avg_pool2d(y, (None, None))) + y)),
        SQUARE,
    ),
    "in place behind strides": (lambda n, x: F.relu_(n.a(x)[:, :, ::8, ::8] * 1.0).flatten(1) + 0, {}),
    "in place behind a pool that steps over": (
        lambda n, x: n.r(n.p(n.a(x))).flatten(1),
        {"a": lambda: conv(kernel=1), "p": lambda: nn.MaxPool2d(1, 9), "r": lambda: nn.ReLU(inplace=True)},
    ),
    "in place behind clip and dropout": (
        lambda n, x: pooled(n.c(n.d(n.r(n.a(x))).add_(1.0))),
        {**SQUARE, "r": nn.ReLU6, "d": nn.Dropout},
    ),
    "in place behind a clip, by position": (
        lambda n, x: pooled(n.c(F.leaky_relu(n.r(n.a(x)), 0.1, True))),
        {**SQUARE, "r": lambda: nn.Hardtanh(-0.3, 0.3)},
    ),
    "in place in a module that stays whole": (
        lambda n, x: twice(n.a(x), n.w),
        {"w": InPlaceInside},
    ),
    "a parameter of a module that stays whole": (
        lambda n, x: pooled(n.w(n.w(n.a(x)))) * n.w.scale,
        {"w": ReadsAWeight},
    ),
    "sum with a size": (lambda n, x: pooled(F.relu(n.a(x) + x.size(2)) + F.relu(n.b(x) + n.b(x).shape[1])), {}),
    "sum of a map with itself": (lambda n, x: (lambda y: pooled(F.relu(y + y)))(n.a(x)), {}),
    "sum, first read again": (lambda n, x: twice(n.a(x), lambda y: F.relu(y + n.b(x))), {}),
    "sum, second read again": (lambda n, x: twice(n.a(x), lambda y: F.relu6(n.b(x) + y)), {}),
    "sum with one channel": (
        lambda n, x: pooled(F.relu(n.a(x) + n.c(x)) + F.relu(n.c(x) + n.a(x))),
        {"c": lambda: conv(3, 1)},
    ),
    "sum with a number each": (lambda n, x: pooled(F.relu(n.a(x) + pooled(n.b(x))[:, :, None, None])), {}),
    "sum with what varies over the map": (
        lambda n, x: pooled(F.relu(n.a(x) + n.where)),
        {"where": lambda: nn.Parameter(torch.zeros(1, 4, SIZE, SIZE))},
    ),
    "arithmetic": (lambda n, x: pooled((2 - n.a(x)) * (n.a(x) - n.b(x)) / (1 + n.b(x) * n.b(x))), {}),
    "alpha": (lambda n, x: pooled(torch.add(n.a(x), n.b(x), alpha=-2).sub(n.a(x), alpha=3) ** 2), {}),
    "view by keyword": (lambda n, x: pooled(n.a(x)).view(size=(x.shape[0], 4)), {}),
    "permuted and sliced": (lambda n, x: n.a(x).permute(0, 2, 3, 1)[:, ::2, 1::2].mean((1, 2)), {}),
    "permuted block": (
        conv_next_block,
        {
            "norm": lambda: nn.LayerNorm(4),
            "up": lambda: nn.Linear(4, 8),
            "out": lambda: nn.Linear(8, 4),
            "scale": lambda: nn.Parameter(torch.ones(4)),
        },
    ),
    "linear over columns": (lambda n, x: pooled(n.l(n.a(x))), {"l": lambda: nn.Linear(SIZE, 5)}),
    "norm over columns": (lambda n, x: pooled(n.l(n.a(x)) ** 2), {"l": lambda: nn.LayerNorm(SIZE)}),
    "group norm": (lambda n, x: pooled(n.c(F.relu(n.l(n.a(x))))), {**SQUARE, "l": lambda: nn.GroupNorm(2, 4)}),
    "options of one number": (
        lambda n, x: torch.cat([pooled(F.max_pool2d(n.a(x), (3,))), pooled(F.avg_pool2d(n.a(x), [3], (2,)))], 1),
        {},
    ),
    "clamped by what varies over the map": (lambda n, x: pooled(n.a(x).clamp(min=n.w)), {"w": lambda: limits(SIZE)}),
    "clamped by another map": (lambda n, x: pooled(torch.clamp(n.a(x), n.b(x))), {}),
    "clips in series": (lambda n, x: pooled(F.hardtanh(F.relu6(F.relu(n.a(x)) * 3), -0.1, 0.5)), {}),
    "clips in modules": (
        lambda n, x: pooled(n.h(n.r(n.a(x)))),
        {"h": lambda: nn.Hardtanh(-0.1, 0.5), "r": lambda: nn.ReLU6(inplace=True)},
    ),
    "clips in place, each read in place": (
        lambda n, x: pooled(n.c(n.r(n.h(n.p(n.a(x)))).add_(1.0))),
        {
            **SQUARE,
            "p": lambda: nn.MaxPool2d(2),
            "h": lambda: nn.Hardtanh(-0.3, 0.4, inplace=True),
            "r": lambda: nn.ReLU6(inplace=True),
        },
    ),
    "clip on one side": (lambda n, x: pooled(n.h(n.a(x))), {"h": lambda: nn.Hardtanh(-0.1, float("inf"))}),
    "clips without a number between them": (clipped_between, SQUARE),
    "a map and what is clipped of it": (
        lambda n, x: (lambda y: torch.cat([y.flatten(1), F.relu(y).flatten(1)], 1))(n.a(x)),
        {},
    ),
    "layers used twice": (
        lambda n, x: pooled(n.r(n.n(n.c(n.r(n.n(n.c(n.a(x)))))))),
        {**SQUARE, "n": lambda: nn.BatchNorm2d(4), "r": lambda: nn.ReLU6(inplace=True)},
    ),
    "average pools": (average_pools, SQUARE),
    "max pools": (max_pools, SQUARE),
    "adaptive pools": (adaptive_pools, {}),
    "means": (means, {}),
    "functional convolutions": (functional_convolutions, {"w": lambda: nn.Parameter(torch.zeros(4, 4, 3, 3))}),
    "reflected padding": (lambda n, x: pooled(n.c(n.a(x))), {"c": lambda: conv(4, 4, padding_mode="reflect")}),
    "transposed convolution": (lambda n, x: pooled(n.c(n.a(x)) ** 2), {"c": lambda: nn.ConvTranspose2d(4, 4, 3, 2)}),
    "depthwise": (
        lambda n, x: pooled(n.d(n.c(n.a(x)))),
        {"c": lambda: nn.Conv2d(4, 4, 3, padding=3, groups=4), "d": lambda: nn.Conv2d(4, 8, 5, 2, 1, groups=4)},
    ),
    "maps that become one pixel": (
        lambda n, x: n.d(n.c(n.a(x))).flatten(1),
        {"a": lambda: conv(stride=4), "c": lambda: nn.Conv2d(4, 4, 6), "d": lambda: nn.Conv2d(4, 5, 1)},
    ),
    "gate": (gate, SQUARE),
    "chunks": (lambda n, x: (lambda p: pooled(p[0] * p[1]))(n.a(x).chunk(2, dim=1)), {}),
    "split": (split_in_three, {"c": lambda: conv(3, 1)}),
    "slices of channels": (lambda n, x: pooled(n.a(x)[:, -2:] * n.b(x)[:, :-2] * n.b(x)[:, ::3]), {}),
    "slices of rows": (lambda n, x: pooled(n.a(x)[:, 1:3][:, :, ::5]) + pooled(n.a(x)[..., 2:9])[:, :2], {}),
    "channel shuffle": (lambda n, x: pooled(n.s(n.a(x)) * n.b(x)), {"s": lambda: nn.ChannelShuffle(2)}),
    "concatenation": (
        lambda n, x: (
            pooled(torch.cat([n.a(x), n.b(x)], -3))
            * pooled(torch.cat([n.b(x), n.a(x)], dim=1))
            * pooled(torch.cat((n.b(x), n.b(x)), axis=1))
        ),
        {},
    ),
    "concatenation of rows": (lambda n, x: pooled(torch.cat([n.a(x), n.b(x)], 2) ** 2), {}),
    "padding": (
        lambda n, x: pooled(n.c(F.pad(n.a(x), (1, 2, 0, 3), "constant", 2.0) + F.pad(n.b(x), pad=(3, 0, 2, 1)))),
        {"c": lambda: conv(4, 4, stride=2)},
    ),
    "padding that cuts": (lambda n, x: pooled(n.c(F.pad(n.a(x), (-1, 2, 0, -3)))), SQUARE),
    "padding of channels": (
        lambda n, x: pooled(n.c(F.pad(n.a(x), (0, 0, 1, 0, 1, 2), value=-1.0))),
        {"c": lambda: conv(7, 4)},
    ),
    "padding by modules": (
        lambda n, x: pooled(n.c(n.q(n.p(n.a(x))))),
        {**SQUARE, "p": lambda: nn.ConstantPad2d((1, 0, 2, 0), 3.0), "q": lambda: nn.ZeroPad2d(2)},
    ),
    "upsampling": (lambda n, x: pooled(n.u(n.a(x)) ** 2), {"u": lambda: nn.Upsample(scale_factor=2)}),
    "softmax over channels": (lambda n, x: pooled(F.softmax(n.a(x), 1) * n.s(n.b(x))), {"s": nn.Softmax2d}),
    "response norm and PReLU": (
        lambda n, x: pooled(n.p(n.l(n.a(x)))),
        {"l": lambda: nn.LocalResponseNorm(3), "p": lambda: nn.PReLU(4)},
    ),
}

STAY_WHOLE = ("+= under a view", "+= under a permutation")
"""What is written into a map that has a view isn't followed."""


@pytest.mark.parametrize("name", CASES)
def test_forms_of_operations(name: str) -> None:
    run, layers = CASES[name]
    host = host_of(run, **{key: make() for key, make in layers.items()})
    assert host.prepared.shares or name in STAY_WHOLE
    for index, box in enumerate(PLACES):
        assert largest_error(host, random_framed(3, SIZE, box, batch=1 + 2 * (index % 2))) < 1e-10, box
