"""What asks for shapes or rearranges: sizes, permutations, parts of the channels, padding."""

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from reprogram.engine.rules.sliding import strided
from reprogram.engine.rules.tables import Rule, for_functions, for_modules
from reprogram.engine.sharing import ChannelsLast, each
from reprogram.engine.tape import once
from reprogram.framed import Box, Framed

EVERYTHING = slice(None)


@for_functions("size")
def size(call: Rule, value: Any, dim: int | None = None) -> Any:
    """The shape of the whole batch."""
    if not isinstance(value, Framed):
        return NotImplemented
    shape = torch.Size((len(value), *value.frame.shape[1:]))
    return shape if dim is None else shape[dim]


@for_functions(getattr)
def attribute(call: Rule, value: Any, name: str) -> Any:
    """Shape, type and place."""
    if not isinstance(value, Framed):
        return NotImplemented
    if name == "shape":
        return size(call, value)
    return getattr(value.frame, name) if name in ("ndim", "dtype", "device") else NotImplemented


@for_functions("dim")
def dimensions(call: Rule, value: Any) -> Any:
    """Always four."""
    return 4 if isinstance(value, Framed) else NotImplemented


@for_functions("permute", torch.permute)
def permute(call: Rule, value: Any, *order: Any) -> Any:
    """Channels last, and back."""
    axes = tuple(order[0] if len(order) == 1 and isinstance(order[0], list | tuple) else order)
    if isinstance(value, Framed) and axes == (0, 2, 3, 1):
        return ChannelsLast(value)
    return value.maps if isinstance(value, ChannelsLast) and axes == (0, 3, 1, 2) else NotImplemented


@for_functions("chunk", torch.chunk, "split", torch.split)
def parts(call: Rule, value: Any, how: Any, dim: int = 0) -> Any:
    """Some channels each."""
    if not isinstance(value, Framed) or dim not in (1, -3):
        return NotImplemented
    frames, windows = once(lambda frame: call(frame, how, 1), value.frame), call(value.window, how, 1)
    return tuple(Framed(frame=f, window=w, box=value.box) for f, w in zip(frames, windows, strict=True))


@for_functions(operator.getitem)
def item(call: Rule, value: Any, index: Any) -> Any:
    """Some channels, or every so many rows and columns."""
    if isinstance(value, ChannelsLast):
        return NotImplemented
    if not isinstance(value, Framed):
        return call(value, index)  # Of a list of maps.
    given = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(i, slice) for i in given) or len(given) > 4:
        return NotImplemented
    images, channels, rows, columns = (list(given) + [EVERYTHING] * 4)[:4]
    if images != EVERYTHING or any(i.start not in (None, 0) or i.stop is not None for i in (rows, columns)):
        return NotImplemented
    some = each(value, lambda part: part[:, channels]) if channels != EVERYTHING else value
    steps = rows.step or 1, columns.step or 1
    return some if steps == (1, 1) or not isinstance(some, Framed) else strided(some, *steps)


@for_functions(F.pad)
def pad(call: Rule, value: Any, widths: Any, mode: str = "constant", fill: float | None = None) -> Any:
    """More channels, or a border of one colour."""
    if not isinstance(value, Framed) or mode != "constant" or not all(isinstance(w, int) for w in widths):
        return NotImplemented
    left, right, above, below, before, after, *rest = list(widths) + [0] * max(6 - len(widths), 0)
    if any(rest) or min(left, right, above, below) < 0:
        return NotImplemented
    box = value.box
    return Framed(
        frame=once(lambda f: F.pad(f, (left, right, above, below, before, after), value=fill), value.frame),
        window=F.pad(value.window, (0, 0, 0, 0, before, after), value=fill),
        box=Box(top=box.top + above, left=box.left + left, height=box.height, width=box.width),
    )


@for_modules(nn.ZeroPad2d, nn.ConstantPad2d)
def pad_module(layer: nn.ConstantPad2d, value: Any) -> Any:
    """The same as a module."""
    return pad(F.pad, value, layer.padding, fill=layer.value)
