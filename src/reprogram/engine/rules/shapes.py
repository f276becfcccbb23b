"""Rules of operations that ask for shapes or rearrange maps: sizes, permutations, slices, padding."""

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from reprogram.engine.frame_cache import cached
from reprogram.engine.framed_ops import ChannelsLast, map_pixels
from reprogram.engine.rules.sliding import strided
from reprogram.engine.rules.tables import Operation, for_functions, for_modules
from reprogram.framed import Box, Framed

EVERYTHING = slice(None)
"""The index of a whole axis."""


@for_functions("size")
def _size(call: Operation, value: Any, dim: int | None = None) -> Any:
    """The shape of the whole batch."""
    if not isinstance(value, Framed):
        return NotImplemented
    shape = torch.Size((len(value), *value.frame.shape[1:]))
    return shape if dim is None else shape[dim]


@for_functions(getattr)
def _attribute(call: Operation, value: Any, name: str) -> Any:
    """The shape, number of axes, dtype and device of the whole batch."""
    if not isinstance(value, Framed):
        return NotImplemented
    if name == "shape":
        return _size(call, value)
    return getattr(value.frame, name) if name in ("ndim", "dtype", "device") else NotImplemented


@for_functions("dim")
def _dimensions(call: Operation, value: Any) -> Any:
    """The number of axes, always four."""
    return 4 if isinstance(value, Framed) else NotImplemented


@for_functions("permute", torch.permute)
def _permute(call: Operation, value: Any, *order: Any) -> Any:
    """The permutation to channels last, and the one back."""
    axes = tuple(order[0] if len(order) == 1 and isinstance(order[0], list | tuple) else order)
    if isinstance(value, Framed) and axes == (0, 2, 3, 1):
        return ChannelsLast(value)
    return value.maps if isinstance(value, ChannelsLast) and axes == (0, 3, 1, 2) else NotImplemented


@for_functions("chunk", torch.chunk, "split", torch.split)
def _split(call: Operation, value: Any, how: Any, dim: int = 0) -> Any:
    """Groups of channels."""
    if not isinstance(value, Framed) or dim not in (1, -3):
        return NotImplemented
    frames, windows = cached(lambda frame: call(frame, how, 1), value.frame), call(value.window, how, 1)
    return tuple(Framed(frame=f, window=w, box=value.box) for f, w in zip(frames, windows, strict=True))


@for_functions(operator.getitem)
def _item(call: Operation, value: Any, index: Any) -> Any:
    """A slice of the channels, and rows and columns at a step; an item of a list of maps."""
    if isinstance(value, ChannelsLast):
        return NotImplemented
    if not isinstance(value, Framed):
        return call(value, index)  # A list of maps.
    slices = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(i, slice) for i in slices) or len(slices) > 4:
        return NotImplemented
    images, channels, rows, columns = (list(slices) + [EVERYTHING] * 4)[:4]
    if images != EVERYTHING or any(i.start not in (None, 0) or i.stop is not None for i in (rows, columns)):
        return NotImplemented
    maps = map_pixels(value, lambda part: part[:, channels]) if channels != EVERYTHING else value
    steps = rows.step or 1, columns.step or 1
    return maps if steps == (1, 1) or not isinstance(maps, Framed) else strided(maps, *steps)


@for_functions(F.pad)
def _pad(call: Operation, value: Any, widths: Any, mode: str = "constant", fill: float | None = None) -> Any:
    """Further channels or a border, of one value."""
    if not isinstance(value, Framed) or mode != "constant" or not all(isinstance(w, int) for w in widths):
        return NotImplemented
    left, right, above, below, before, after, *rest = list(widths) + [0] * max(6 - len(widths), 0)
    if any(rest) or min(left, right, above, below) < 0:
        return NotImplemented
    box = value.box
    return Framed(
        frame=cached(lambda f: F.pad(f, (left, right, above, below, before, after), value=fill), value.frame),
        window=F.pad(value.window, (0, 0, 0, 0, before, after), value=fill),
        box=Box(top=box.top + above, left=box.left + left, height=box.height, width=box.width),
    )


@for_modules(nn.ZeroPad2d, nn.ConstantPad2d)
def _pad_module(layer: nn.ConstantPad2d, value: Any) -> Any:
    """Padding as a module."""
    return _pad(F.pad, value, layer.padding, fill=layer.value)
