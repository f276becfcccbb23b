"""How each operation runs on a `Framed` map: one function an operation, by module type, function or method name.

A rule takes the operation and its arguments, of which at least one is a `Framed`, and returns a `Framed` or a tensor.
An operation without a rule, or one that returns `NotImplemented`, runs dense: always exact, only slower.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.clip import Clip
from reprogram.engine.sharing import Slide, each, slide, union, widen
from reprogram.framed import Framed

Rule = Callable[..., Any]
MODULES: dict[type[nn.Module], Rule] = {}
FUNCTIONS: dict[Any, Rule] = {}

POINTWISE_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    Clip,
    nn.LeakyReLU,
    nn.ELU,
    nn.SiLU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Sigmoid,
    nn.Tanh,
    nn.Mish,
    nn.Softplus,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
)
POINTWISE_FUNCTIONS = (
    F.relu,
    F.relu_,
    torch.relu,
    torch.relu_,
    F.relu6,
    F.hardtanh,
    F.silu,
    F.gelu,
    F.hardswish,
    F.leaky_relu,
    torch.sigmoid,
    torch.tanh,
    F.dropout,
    "relu",
    "relu_",
    "sigmoid",
    "tanh",
    "contiguous",
)


def for_modules(*types: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Register a rule for modules of exactly these types."""
    return lambda rule: (MODULES.update(dict.fromkeys(types, rule)), rule)[1]


def for_functions(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for these functions, or methods by name."""
    return lambda rule: (FUNCTIONS.update(dict.fromkeys(functions, rule)), rule)[1]


def pair(value: Any) -> tuple[int, int]:
    """An option that PyTorch takes as one number or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


@for_modules(*POINTWISE_MODULES)
@for_functions(*POINTWISE_FUNCTIONS)
def pointwise(call: Rule, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Acts on every pixel alike."""
    return each(value, lambda part: call(part, *args, **kwargs)) if isinstance(value, Framed) else NotImplemented


@for_modules(nn.BatchNorm2d, BatchNormAct2d)
def batch_norm(layer: nn.BatchNorm2d, value: Framed) -> Any:
    """By the running statistics; without them it depends on the whole batch."""
    return NotImplemented if layer.running_mean is None else each(value, layer)


@for_modules(nn.Conv2d)
def convolution(layer: nn.Conv2d, value: Framed) -> Any:
    """Zero-padded convolution."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return NotImplemented
    return _convolve(layer, value, *pair(layer.padding), layer)


@for_modules(Conv2dSame)
def convolution_same(layer: Conv2dSame, value: Framed) -> Any:
    """TensorFlow's SAME padding: as many pixels as it takes, the odd one below and right."""
    before = []
    for size, kernel, stride, dilation in zip(
        value.frame.shape[2:], layer.kernel_size, pair(layer.stride), pair(layer.dilation), strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        before.append(total // 2)
    return _convolve(layer, value, before[0], before[1], layer)


def _convolve(layer: nn.Conv2d, value: Framed, above: int, left: int, whole: Rule) -> Any:
    kernel, stride, dilation = layer.kernel_size, pair(layer.stride), pair(layer.dilation)
    inner = partial(
        F.conv2d, weight=layer.weight, bias=layer.bias, stride=stride, dilation=dilation, groups=layer.groups
    )
    rows = Slide(kernel=kernel[0], stride=stride[0], dilation=dilation[0], before=above)
    columns = Slide(kernel=kernel[1], stride=stride[1], dilation=dilation[1], before=left)
    return slide(value, rows, columns, whole, inner)


@for_modules(nn.MaxPool2d)
def max_pool(layer: nn.MaxPool2d, value: Framed) -> Any:
    """Maximum; the padding never wins."""
    kernel, stride, dilation = pair(layer.kernel_size), pair(layer.stride), pair(layer.dilation)
    above, left = pair(layer.padding)
    inner = partial(F.max_pool2d, kernel_size=kernel, stride=stride, dilation=dilation)
    rows = Slide(kernel=kernel[0], stride=stride[0], dilation=dilation[0], before=above)
    columns = Slide(kernel=kernel[1], stride=stride[1], dilation=dilation[1], before=left)
    return NotImplemented if layer.return_indices else slide(value, rows, columns, layer, inner, float("-inf"))


@for_modules(nn.AvgPool2d)
def average_pool(layer: nn.AvgPool2d, value: Framed) -> Any:
    """Mean; where the divisor depends on the place, dense."""
    above, left = pair(layer.padding)
    if layer.ceil_mode or layer.divisor_override or (not layer.count_include_pad and (above or left)):
        return NotImplemented
    kernel, stride = pair(layer.kernel_size), pair(layer.stride)
    inner = partial(F.avg_pool2d, kernel_size=kernel, stride=stride)
    rows = Slide(kernel=kernel[0], stride=stride[0], dilation=1, before=above)
    columns = Slide(kernel=kernel[1], stride=stride[1], dilation=1, before=left)
    return slide(value, rows, columns, layer, inner)


@for_modules(nn.AdaptiveAvgPool2d)
def global_pool(layer: nn.AdaptiveAvgPool2d, value: Framed) -> Any:
    """Global average: what is shared is summed once."""
    return global_mean(value) if layer.output_size in (1, (1, 1)) else NotImplemented


@for_functions(F.adaptive_avg_pool2d)
def global_pool_function(call: Rule, value: Any, output_size: Any) -> Any:
    """The same as a function."""
    return global_mean(value) if output_size in (1, (1, 1), [1, 1]) else NotImplemented


@for_functions("mean", torch.mean)
def mean(call: Rule, value: Any, dim: Any = None, keepdim: bool = False, **others: Any) -> Any:
    """A mean over the map."""
    if (
        others
        or not isinstance(value, Framed)
        or not isinstance(dim, list | tuple)
        or sorted(d % 4 for d in dim) != [2, 3]
    ):
        return NotImplemented
    return global_mean(value) if keepdim else global_mean(value).flatten(1)


def global_mean(value: Framed) -> Tensor:
    """The mean of every map, b × C × 1 × 1: what is shared around the window, and the window."""
    box, (height, width) = value.box, value.frame.shape[2:]
    hole = value.frame[..., box.rows, box.columns]
    around = value.frame.sum(dim=(2, 3), keepdim=True) - hole.sum(dim=(2, 3), keepdim=True)
    return (around + value.window.sum(dim=(2, 3), keepdim=True)) / (height * width)


@for_functions(operator.add, operator.iadd, torch.add, "add", "add_", operator.mul, torch.mul, "mul", operator.sub)
def combine(call: Rule, a: Any, b: Any, **kwargs: Any) -> Any:
    """Sums and products of two maps, or of a map and a number."""
    if isinstance(a, Framed) and isinstance(b, Framed):
        if a.frame.shape[2:] != b.frame.shape[2:]:
            return NotImplemented
        box = union(a.box, b.box)
        first, second = widen(a, box), widen(b, box)
        return Framed(
            frame=call(first.frame, second.frame, **kwargs),
            window=call(first.window, second.window, **kwargs),
            box=box,
        )
    if isinstance(a, Framed) and isinstance(b, int | float):
        return each(a, lambda part: call(part, b, **kwargs))
    if isinstance(b, Framed) and isinstance(a, int | float) and not isinstance(call, str):
        return each(b, lambda part: call(a, part, **kwargs))
    return NotImplemented


@for_functions(torch.cat, torch.concat)
def concatenate(call: Rule, values: Any, dim: int = 0, **others: Any) -> Any:
    """Channels of several maps beside each other."""
    if others or dim not in (1, -3) or not all(isinstance(value, Framed) for value in values):
        return NotImplemented
    box = values[0].box
    for value in values[1:]:
        box = union(box, value.box)
    wide = [widen(value, box) for value in values]
    return Framed(frame=torch.cat([v.frame for v in wide], 1), window=torch.cat([v.window for v in wide], 1), box=box)
