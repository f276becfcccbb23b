"""Rules of operations that read a neighbourhood: convolutions, max pooling and strided slices."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.convolution import Convolution, pair
from reprogram.engine.framed_convolution import slide_convolution
from reprogram.engine.framed_ops import slide
from reprogram.engine.receptive_field import SlidingAxis
from reprogram.engine.rules.tables import Operation, for_functions, for_modules
from reprogram.framed import Framed


@for_modules(Convolution)
def _convolution(layer: Convolution, value: Framed) -> Any:
    """The engine's convolution, with its clipping."""
    return slide_convolution(value, layer)


@for_functions(F.conv2d)
def _convolution_function(
    call: Operation,
    value: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Convolution as a function: the host computes the weight."""
    if not isinstance(value, Framed) or not isinstance(weight, Tensor) or isinstance(padding, str):
        return NotImplemented
    inner = partial(F.conv2d, weight=weight, bias=bias, stride=stride, dilation=dilation, groups=groups)
    return slide(value, *axes(weight.shape[2:], stride, padding, dilation), partial(inner, padding=padding), inner)


@for_functions(F.max_pool2d, F.max_pool2d_with_indices)
def _max_pool(
    call: Operation,
    value: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of a neighbourhood, padded with -∞."""
    if not isinstance(value, Framed) or return_indices or call is F.max_pool2d_with_indices:
        return NotImplemented
    stride = kernel_size if stride is None or stride == [] else stride
    inner = partial(F.max_pool2d, kernel_size=kernel_size, stride=stride, dilation=dilation)
    whole = partial(inner, padding=padding, ceil_mode=ceil_mode)
    return slide(value, *axes(pair(kernel_size), stride, padding, dilation), whole, inner, float("-inf"))


@for_modules(nn.MaxPool2d)
def _max_pool_module(layer: nn.MaxPool2d, value: Framed) -> Any:
    """Max pooling as a module."""
    options = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices
    return _max_pool(F.max_pool2d, value, *options)


def strided(value: Framed, down: int, across: int) -> Framed | Tensor:
    """Rows and columns at a step, from the first.

    Args:
        value: feature maps.
        down: step from row to row, in pixels.
        across: step from column to column, in pixels.
    """
    rows = SlidingAxis(kernel=1, stride=down, dilation=1, before=0)
    columns = SlidingAxis(kernel=1, stride=across, dilation=1, before=0)

    def take(part: Tensor) -> Tensor:
        return part[:, :, ::down, ::across]

    return slide(value, rows, columns, take, take)


def axes(kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[SlidingAxis, SlidingAxis]:
    """How a sliding operation moves down and across; each option is one number or two.

    Args:
        kernel: number of taps.
        stride: pixels between one output and the next.
        padding: pixels of padding before each axis.
        dilation: pixels between one tap and the next.
    """
    sizes, steps, before, spacings = pair(kernel), pair(stride), pair(padding), pair(dilation)
    rows, columns = (
        SlidingAxis(kernel=sizes[i], stride=steps[i], dilation=spacings[i], before=before[i]) for i in (0, 1)
    )
    return rows, columns
