"""Rules of operations that join several maps: arithmetic and concatenation."""

import operator
from typing import Any

import torch
from torch import Tensor

from reprogram.engine.activations import ClippedSum
from reprogram.engine.frame_cache import cached
from reprogram.engine.framed_ops import ChannelsLast, grow_window, map_pixels
from reprogram.engine.receptive_field import union
from reprogram.engine.rules.tables import Operation, for_functions, for_modules
from reprogram.framed import Framed


@for_modules(ClippedSum)
@for_functions(operator.add, operator.iadd, torch.add, "add", "add_")
@for_functions(operator.mul, operator.imul, torch.mul, "mul", "mul_")
@for_functions(operator.sub, operator.isub, torch.sub, "sub", "sub_", operator.truediv, torch.div, "div", "div_")
def _combine(call: Operation, a: Any, b: Any, **kwargs: Any) -> Any:
    """Arithmetic of two maps, or of a map and a factor or term that is the same for every pixel and image."""
    if isinstance(a, Framed) and isinstance(b, Framed):
        if a.frame.shape[2:] != b.frame.shape[2:] or len(a) != len(b):
            return NotImplemented
        box = union(a.box, b.box)
        first, second = grow_window(a, box), grow_window(b, box)
        return Framed(
            frame=cached(lambda *frames: call(*frames, **kwargs), first.frame, second.frame),
            window=call(first.window, second.window, **kwargs),
            box=box,
        )
    if isinstance(a, Framed | ChannelsLast) and _same_everywhere(b, a):
        return map_pixels(a, lambda part: call(part, b, **kwargs))
    if isinstance(b, Framed | ChannelsLast) and _same_everywhere(a, b):
        return map_pixels(b, lambda part: call(a, part, **kwargs))
    return NotImplemented


def _same_everywhere(other: Any, value: Framed | ChannelsLast) -> bool:
    """Whether an operand is a number, or a tensor that broadcasts over pixels and images, such as a scale a channel."""
    if isinstance(other, int | float):
        return True
    if not isinstance(other, Tensor) or other.ndim > 4:
        return False
    # Trailing axes are aligned: to b × C × H × W, or b × H × W × C.
    shape = (1,) * (4 - other.ndim) + tuple(other.shape)
    return shape[:3] == (1, 1, 1) if isinstance(value, ChannelsLast) else (shape[0], *shape[2:]) == (1, 1, 1)


@for_functions(torch.cat, torch.concat)
def _concatenate(call: Operation, values: Any, dim: int = 0, **others: Any) -> Any:
    """The channels of several maps, one after the other."""
    if others or dim not in (1, -3) or not all(isinstance(value, Framed) for value in values):
        return NotImplemented
    box = values[0].box
    for value in values[1:]:
        box = union(box, value.box)
    grown = [grow_window(value, box) for value in values]
    frame = cached(lambda *frames: torch.cat(frames, 1), *(maps.frame for maps in grown))
    return Framed(frame=frame, window=torch.cat([maps.window for maps in grown], 1), box=box)
