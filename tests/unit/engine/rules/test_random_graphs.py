"""Random graphs of every operation on shared maps, against the untouched module run dense in float64."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from helpers_engine import conv, largest_error, pooled, random_framed
from reprogram import Box, Host

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
        self.plan = [(step if isinstance(step, str) else index, a, b) for index, (step, a, b) in enumerate(steps)]
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
        return  # The maps shrank to nothing, or autograd doesn't allow this write in index.
    assert largest_error(Host.wrap(net, size=size, channels=2), framed) < 1e-10
