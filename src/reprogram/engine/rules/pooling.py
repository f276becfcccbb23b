"""Rules of averages, over a neighbourhood and over the whole map."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.convolution import pair
from reprogram.engine.frame_cache import cached
from reprogram.engine.framed_ops import map_pixels, slide
from reprogram.engine.receptive_field import boxes_around, receptive_field
from reprogram.engine.rules.sliding import axes
from reprogram.engine.rules.tables import Operation, for_functions, for_modules
from reprogram.framed import Box, Framed


@for_functions(F.avg_pool2d)
def _average_pool(
    call: Operation,
    value: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of a neighbourhood; at the edge its divisor may depend on the position."""
    if not isinstance(value, Framed):
        return NotImplemented
    stride = kernel_size if stride is None or stride == [] else stride
    sizes, steps, before = pair(kernel_size), pair(stride), pair(padding)
    whole = partial(
        F.avg_pool2d,
        kernel_size=sizes,
        stride=steps,
        padding=before,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    rows, columns = axes(sizes, steps, before, 1)
    divisors: Tensor = cached(lambda frame: _divisors(whole, frame), value.frame)
    field = receptive_field(value, rows, columns, divisors.shape)
    window_divisors = divisors[..., field.box.rows, field.box.columns] if field is not None else divisors

    def inner(part: Tensor) -> Tensor:
        sums: Tensor = F.avg_pool2d(part, sizes, steps, divisor_override=1)
        return sums / window_divisors

    return slide(value, rows, columns, whole, inner)


def _divisors(whole: Any, frame: Tensor) -> Tensor:
    """The divisor of each output's sum, 1 × 1 × H × W."""
    ones = frame.new_ones(1, 1, *frame.shape[2:])
    # The sum of ones over the mean of ones.
    divisors: Tensor = partial(whole, divisor_override=1)(ones) / whole(ones)
    return divisors


@for_modules(nn.AvgPool2d)
def _average_pool_module(layer: nn.AvgPool2d, value: Framed) -> Any:
    """Average pooling as a module."""
    options = layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad
    return _average_pool(F.avg_pool2d, value, *options, layer.divisor_override)


@for_functions(F.adaptive_avg_pool2d)
def _adaptive_pool(call: Operation, value: Any, output_size: Any) -> Any:
    """The mean of the whole map, or an ordinary average pooling where the output's size divides the input's."""
    if not isinstance(value, Framed):
        return NotImplemented
    height, width = value.frame.shape[2:]
    sizes = (output_size, output_size) if isinstance(output_size, int | None) else output_size
    rows, columns = sizes[0] or height, sizes[1] or width
    if (rows, columns) == (1, 1):
        return _global_mean(value)
    if (rows, columns) == (height, width):
        return map_pixels(value, torch.clone)
    if height % rows or width % columns:
        return NotImplemented
    return _average_pool(F.avg_pool2d, value, (height // rows, width // columns))


@for_modules(nn.AdaptiveAvgPool2d)
def _adaptive_pool_module(layer: nn.AdaptiveAvgPool2d, value: Framed) -> Any:
    """Adaptive average pooling as a module."""
    return _adaptive_pool(F.adaptive_avg_pool2d, value, layer.output_size)


@for_functions("mean", torch.mean)
def _mean(call: Operation, value: Any, dim: Any = None, keepdim: bool = False, **others: Any) -> Any:
    """The mean of the whole map."""
    if (
        others
        or not isinstance(value, Framed)
        or not isinstance(dim, list | tuple)
        or sorted(d % 4 for d in dim) != [2, 3]
    ):
        return NotImplemented
    return _global_mean(value) if keepdim else _global_mean(value).flatten(1)


def _global_mean(value: Framed) -> Tensor:
    """The mean of every map, b × C × 1 × 1."""
    height, width = value.frame.shape[2:]
    # (the frame's sum around the window, computed once, + the window's sum) / (H · W)
    around: Tensor = cached(lambda frame: _sum_around(frame, value.box), value.frame)
    return ((around + _sum(value.window)) / (height * width)).to(value.window.dtype)


def _sum_around(frame: Tensor, box: Box) -> Tensor:
    """The sum of the frame's pixels outside the window, 1 × C × 1 × 1."""
    whole = Box(top=0, left=0, height=frame.shape[2], width=frame.shape[3])
    total = frame.new_zeros(1, frame.shape[1], 1, 1)
    for strip in boxes_around(whole, box):
        total = total + _sum(frame[..., strip.rows, strip.columns])
    return total


def _sum(part: Tensor) -> Tensor:
    """The sum over the pixels, n × C × 1 × 1; of half precision in single, as PyTorch's mean does."""
    half = part.dtype in (torch.float16, torch.bfloat16)
    return part.sum(dim=(2, 3), keepdim=True, dtype=torch.float32 if half else None)
