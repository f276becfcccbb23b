"""Averages: over a neighbourhood, over the whole map."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.convolution import pair
from reprogram.engine.places import boxes_around, reach
from reprogram.engine.rules.sliding import axes
from reprogram.engine.rules.tables import Rule, for_functions, for_modules
from reprogram.engine.sharing import each, slide
from reprogram.engine.tape import once
from reprogram.framed import Box, Framed


@for_functions(F.avg_pool2d)
def average_pool(
    call: Rule,
    value: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean of a neighbourhood; at the edge the number of pixels that it divides by may depend on the place."""
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
    divisors: Tensor = once(lambda frame: _divisors(whole, frame), value.frame)
    seen = reach(value, rows, columns, divisors.shape)
    here = divisors[..., seen.box.rows, seen.box.columns] if seen is not None else divisors

    def inner(part: Tensor) -> Tensor:
        sums: Tensor = F.avg_pool2d(part, sizes, steps, divisor_override=1)
        return sums / here

    return slide(value, rows, columns, whole, inner)


def _divisors(whole: Any, frame: Tensor) -> Tensor:
    """By how much each output divides its sum, 1 × 1 × H × W."""
    ones = frame.new_ones(1, 1, *frame.shape[2:])
    divisors: Tensor = partial(whole, divisor_override=1)(ones) / whole(ones)
    return divisors


@for_modules(nn.AvgPool2d)
def average_pool_module(layer: nn.AvgPool2d, value: Framed) -> Any:
    """The same as a module."""
    options = layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad
    return average_pool(F.avg_pool2d, value, *options, layer.divisor_override)


@for_functions(F.adaptive_avg_pool2d)
def adaptive_pool(call: Rule, value: Any, output_size: Any) -> Any:
    """Global average, or an ordinary one where the sizes divide."""
    if not isinstance(value, Framed):
        return NotImplemented
    height, width = value.frame.shape[2:]
    given = (output_size, output_size) if isinstance(output_size, int | None) else output_size
    rows, columns = given[0] or height, given[1] or width
    if (rows, columns) == (1, 1):
        return global_mean(value)
    if (rows, columns) == (height, width):
        return each(value, torch.clone)
    if height % rows or width % columns:
        return NotImplemented
    return average_pool(F.avg_pool2d, value, (height // rows, width // columns))


@for_modules(nn.AdaptiveAvgPool2d)
def adaptive_pool_module(layer: nn.AdaptiveAvgPool2d, value: Framed) -> Any:
    """The same as a module."""
    return adaptive_pool(F.adaptive_avg_pool2d, value, layer.output_size)


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
    height, width = value.frame.shape[2:]
    around: Tensor = once(lambda frame: _sum_around(frame, value.box), value.frame)
    return ((around + _sum(value.window)) / (height * width)).to(value.window.dtype)


def _sum_around(frame: Tensor, box: Box) -> Tensor:
    whole = Box(top=0, left=0, height=frame.shape[2], width=frame.shape[3])
    total = frame.new_zeros(1, frame.shape[1], 1, 1)
    for strip in boxes_around(whole, box):
        total = total + _sum(frame[..., strip.rows, strip.columns])
    return total


def _sum(part: Tensor) -> Tensor:
    """Over the map; of half precision in single, as PyTorch's mean does."""
    half = part.dtype in (torch.float16, torch.bfloat16)
    return part.sum(dim=(2, 3), keepdim=True, dtype=torch.float32 if half else None)
