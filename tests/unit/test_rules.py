"""Every form of every operation on shared maps, against the untouched module run dense in float64."""

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_sharing import largest_error, random_framed
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


def conv(channels: int = 3, out: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that keeps the maps' size, if nothing else is said."""
    return nn.Conv2d(channels, out, kernel, **{"padding": kernel // 2, **options})


def pooled(maps: Tensor) -> Tensor:
    """The mean of every map."""
    return maps.mean((2, 3))


def twice(maps: Tensor, use: Callable[[Tensor], Tensor]) -> Tensor:
    """What reads a map and what `use` makes of it."""
    made = use(maps)
    return pooled(made * maps)


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
    """Positional and keyword arguments, divisors that depend on the place."""
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


def limits(size: int) -> nn.Parameter:
    """A limit for each column."""
    return nn.Parameter(torch.zeros(size))


@pytest.mark.parametrize("name", CASES)
def test_forms_of_operations(name: str) -> None:
    run, layers = CASES[name]
    host = host_of(run, **{key: make() for key, make in layers.items()})
    assert host.prepared.shares or name in STAY_WHOLE
    for place, box in enumerate(PLACES):
        assert largest_error(host, random_framed(3, SIZE, box, batch=1 + 2 * (place % 2))) < 1e-10, box


STEPS = {
    "conv": lambda d: conv(4, 4, d(st.integers(1, 4)), padding=d(st.sampled_from([0, 1, (2, 1), "same", "valid"]))),
    "strided": lambda d: nn.Conv2d(
        4, 4, (d(st.integers(1, 4)), 3), (d(st.integers(1, 3)), 1), (1, 2), (1, d(st.integers(1, 2)))
    ),
    "grouped": lambda d: conv(4, 4, groups=d(st.sampled_from([2, 4])), padding_mode=d(PADDING_MODES)),
    "norm": lambda d: nn.BatchNorm2d(4),
    "relu": lambda d: nn.ReLU(inplace=d(st.booleans())),
    "relu6": lambda d: nn.ReLU6(inplace=d(st.booleans())),
    "hardtanh": lambda d: nn.Hardtanh(-0.3, 0.4, inplace=d(st.booleans())),
    "silu": lambda d: nn.SiLU(inplace=d(st.booleans())),
    "dropout": lambda d: nn.Dropout(),
    "max": lambda d: nn.MaxPool2d(3, d(st.integers(1, 3)), 1, d(st.integers(1, 2)), ceil_mode=d(st.booleans())),
    "average": lambda d: nn.AvgPool2d(
        3, d(st.integers(1, 3)), 1, d(st.booleans()), d(st.booleans()), d(st.sampled_from([None, 5]))
    ),
    "pad": lambda d: nn.ConstantPad2d((d(st.integers(0, 2)), 0, 0, 1), 0.5),
    "shuffle": lambda d: nn.ChannelShuffle(2),
}
PADDING_MODES = st.sampled_from(["zeros", "reflect", "circular"])
JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda a, b: a + b,
    "add_": lambda a, b: a.add_(b),
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "concatenate": lambda a, b: torch.cat([a, b], 1)[:, ::2],
    "halves": lambda a, b: torch.cat([a.chunk(2, 1)[1], b.chunk(2, 1)[0]], 1),
}


class RandomGraph(nn.Module):
    """Steps that read any earlier map, one of them or two; what can't be read together is cut to the smaller size."""

    def __init__(self, steps: list[tuple[nn.Module | str, int, int]]) -> None:
        super().__init__()
        self.stem, self.last = conv(2, 4), conv(4, 5)
        self.plan = [(step if isinstance(step, str) else place, a, b) for place, (step, a, b) in enumerate(steps)]
        self.steps = nn.ModuleList(nn.Identity() if isinstance(step, str) else step for step, _, _ in steps)

    def forward(self, images: Tensor) -> Tensor:
        maps = [self.stem(images)]
        for what, first, second in self.plan:
            a, b = maps[first % len(maps)], maps[second % len(maps)]
            if not isinstance(what, str):
                maps.append(self.steps[what](a))
                continue
            if self.sizes[len(maps)] is not None:
                height, width = self.sizes[len(maps)]
                a, b = a[..., :height, :width] * 1, b[..., :height, :width]
            maps.append(JOINS[what](a, b))
        return pooled(self.last(maps[-1])) + pooled(maps[len(maps) // 2]).sum(1, keepdim=True)

    def measure(self, size: int) -> None:
        """Note what has to be cut: traced code can't ask for sizes."""
        self.sizes: dict[int, tuple[int, int] | None] = {}
        shapes = [(size, size)]
        for what, first, second in self.plan:
            one, two = shapes[first % len(shapes)], shapes[second % len(shapes)]
            self.sizes[len(shapes)] = None if one == two else (min(one[0], two[0]), min(one[1], two[1]))
            if isinstance(what, str):
                shapes.append(self.sizes[len(shapes)] or one)
            else:
                with torch.no_grad():
                    shapes.append(tuple(self.steps[what](torch.zeros(1, 4, *one, dtype=torch.float64)).shape[2:]))


@st.composite
def graphs(draw: st.DrawFn) -> RandomGraph:
    """Two to seven random steps."""
    steps: list[tuple[nn.Module | str, int, int]] = []
    for _ in range(draw(st.integers(2, 7))):
        kind = draw(st.sampled_from([*STEPS, *JOINS]))
        recent = draw(st.sampled_from([-1, -1, -1, -2, 0]))
        steps.append((STEPS[kind](draw) if kind in STEPS else kind, recent, draw(st.integers(-3, 0))))
    return RandomGraph(steps)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_graphs_of_every_operation(data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    net = data.draw(graphs()).double().eval()
    size = data.draw(st.integers(20, 31))
    pixel = st.integers(0, size - 1)
    top, left = data.draw(pixel), data.draw(pixel)
    height, width = data.draw(st.integers(1, size - top)), data.draw(st.integers(1, size - left))
    framed = random_framed(2, size, Box(top=top, left=left, height=height, width=width), data.draw(st.integers(1, 3)))
    try:
        net.measure(size)
        pooled_once = net(framed.dense())
        torch.autograd.grad(pooled_once.sum(), framed.window, allow_unused=True)
    except RuntimeError:
        return  # The maps shrank to nothing, or autograd doesn't allow this write in place.
    assert largest_error(Host.wrap(net, size=size, channels=2), framed) < 1e-10


def small_host(dtype: torch.dtype = torch.float64) -> Host:
    """A host with most of what convolutional networks do."""

    def run(n: Any, x: Tensor) -> Tensor:
        y = n.r(n.n(n.a(x)))
        y = n.p(F.relu(n.c(y) + y))
        return n.l(n.d(y).mean((2, 3)))

    layers = {"n": nn.BatchNorm2d(4), "r": nn.ReLU6(inplace=True), "c": conv(4, 4), "p": nn.MaxPool2d(2)}
    return host_of(run, **layers, d=conv(4, 6, groups=2), l=nn.Linear(6, 5)).to(dtype)


def gradients(host: Host, framed: Framed) -> list[Tensor]:
    """Scores, and the gradients of a fixed sum of them."""
    scores = host(framed)
    total = (scores * torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).view_as(scores)).sum()
    return [scores.detach(), *torch.autograd.grad(total, (framed.frame, framed.window))]


def batch(size: int, dtype: torch.dtype = torch.float64) -> Framed:
    """A batch in the middle, with gradients."""
    framed = random_framed(3, SIZE, PLACES[0], size, seed=size)
    frame, window = (part.detach().to(dtype).requires_grad_() for part in (framed.frame, framed.window))
    return Framed(frame=frame, window=window, box=framed.box)


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
    host = host_of(lambda n, x: F.dropout(n.a(x), 0.5).flatten(1))
    framed = batch(2)
    window = framed.window.detach()[:1].expand(2, -1, -1, -1)
    with torch.no_grad():
        scores = host(Framed(frame=framed.frame.detach(), window=window, box=framed.box))
    kept = scores != 0
    assert 0.4 < float((kept[0] == kept[1]).double().mean()) < 0.6


def change_in_place(host: Host) -> None:
    """As an optimiser does."""
    with torch.no_grad():
        host.net.c.weight.mul_(2)


def put_new_ones(host: Host) -> None:
    """As `load_state_dict` with `assign=True` does, twice: memory is used again."""
    for seed in range(2):
        weight = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(seed)).double()
        host.net.c.weight = nn.Parameter(weight * torch.rand(1).double(), requires_grad=False)


@pytest.mark.parametrize("change", [change_in_place, put_new_ones])
def test_weights_that_change_after_a_call(change: Callable[[Host], None]) -> None:
    torch.manual_seed(0)
    host, framed = small_host(), batch(2)
    for _ in range(20):
        host(framed)
        change(host)
        assert largest_error(host, framed) < 1e-10


def test_a_copy_of_a_used_host_is_its_own() -> None:
    host, framed = small_host(), batch(3)
    before = host(framed).detach()
    twin = copy.deepcopy(host)
    with torch.no_grad():
        twin.net.l.bias.add_(1)
    torch.testing.assert_close(twin(framed).detach(), before + 1, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(host(framed).detach(), before, rtol=0, atol=0)


def test_a_used_host_can_be_pickled() -> None:
    net = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), conv(4, 5), nn.AdaptiveAvgPool2d(1))
    host, framed = Host.wrap(net.append(nn.Flatten()).double().eval(), size=SIZE), batch(3)
    before = gradients(host, framed)
    torch.testing.assert_close(gradients(pickle.loads(pickle.dumps(host)), framed), before, rtol=0, atol=0)  # noqa: S301


def test_a_host_made_in_inference_mode() -> None:
    with torch.inference_mode():
        host, framed = small_host(), batch(3)
        wanted = host.net((framed.dense() - host.mean) / host.std)
        torch.testing.assert_close(host(framed), wanted, rtol=1e-10, atol=1e-12)


def in_threads(work: Callable[[int], Any], count: int = 3) -> list[Any]:
    """What a function returns in several threads at once; their errors are raised here."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(place: int) -> None:
        start.wait()
        try:
            results[place] = work(place)
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


@pytest.mark.parametrize("warm", [True, False])
def test_one_host_in_several_threads(warm: bool) -> None:
    host, batches = small_host(), [batch(n) for n in (1, 2, 3)]
    wanted = [gradients(copy.deepcopy(host), framed) for framed in batches]
    host._prepared.clear()
    if warm:
        host(batches[0])
    for found, expected in zip(in_threads(lambda place: gradients(host, batches[place])), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_hosts_that_are_made_while_others_run() -> None:
    running, framed = small_host(), batch(2)
    wanted = gradients(running, framed)

    def work(place: int) -> list[list[Tensor]]:
        return [gradients(running if place == 0 else small_host(), framed) for _ in range(10)]

    for several in in_threads(work):
        for found in several:
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


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
