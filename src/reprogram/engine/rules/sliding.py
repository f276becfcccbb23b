"""Convolutions, max pooling and strided slices: what reads a neighbourhood."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.convolution import Convolution, pair
from reprogram.engine.places import Slide
from reprogram.engine.rules.tables import Rule, for_functions, for_modules
from reprogram.engine.sharing import slide, slide_convolution
from reprogram.framed import Framed


@for_modules(Convolution)
def convolution(layer: Convolution, value: Framed) -> Any:
    """Zero-padded convolution, with the clipping behind it."""
    return slide_convolution(value, layer)


@for_functions(F.conv2d)
def convolution_function(
    call: Rule,
    value: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Zero-padded convolution with a weight that is computed."""
    if not isinstance(value, Framed) or not isinstance(weight, Tensor) or isinstance(padding, str):
        return NotImplemented
    inner = partial(F.conv2d, weight=weight, bias=bias, stride=stride, dilation=dilation, groups=groups)
    return slide(value, *axes(weight.shape[2:], stride, padding, dilation), partial(inner, padding=padding), inner)


@for_functions(F.max_pool2d, F.max_pool2d_with_indices)
def max_pool(
    call: Rule,
    value: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum; the padding never wins."""
    if not isinstance(value, Framed) or return_indices or call is F.max_pool2d_with_indices:
        return NotImplemented
    stride = kernel_size if stride is None or stride == [] else stride
    inner = partial(F.max_pool2d, kernel_size=kernel_size, stride=stride, dilation=dilation)
    whole = partial(inner, padding=padding, ceil_mode=ceil_mode)
    return slide(value, *axes(pair(kernel_size), stride, padding, dilation), whole, inner, float("-inf"))


@for_modules(nn.MaxPool2d)
def max_pool_module(layer: nn.MaxPool2d, value: Framed) -> Any:
    """The same as a module."""
    options = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices
    return max_pool(F.max_pool2d, value, *options)


def strided(value: Framed, down: int, across: int) -> Framed | Tensor:
    """Every so many rows and columns, from the first."""
    rows = Slide(kernel=1, stride=down, dilation=1, before=0)
    columns = Slide(kernel=1, stride=across, dilation=1, before=0)

    def take(part: Tensor) -> Tensor:
        return part[:, :, ::down, ::across]

    return slide(value, rows, columns, take, take)


def axes(kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Slide, Slide]:
    """How an operation with these options moves down and across."""
    sizes, steps, before, gaps = pair(kernel), pair(stride), pair(padding), pair(dilation)
    rows, columns = (Slide(kernel=sizes[i], stride=steps[i], dilation=gaps[i], before=before[i]) for i in (0, 1))
    return rows, columns
