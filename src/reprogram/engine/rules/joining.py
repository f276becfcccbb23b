"""What takes several maps: sums, products, channels beside each other."""

import operator
from typing import Any

import torch
from torch import Tensor

from reprogram.engine.clip import ClippedSum
from reprogram.engine.places import union
from reprogram.engine.rules.tables import Rule, for_functions, for_modules
from reprogram.engine.sharing import ChannelsLast, each, widen
from reprogram.engine.tape import once
from reprogram.framed import Framed


@for_modules(ClippedSum)
@for_functions(operator.add, operator.iadd, torch.add, "add", "add_")
@for_functions(operator.mul, operator.imul, torch.mul, "mul", "mul_")
@for_functions(operator.sub, operator.isub, torch.sub, "sub", "sub_", operator.truediv, torch.div, "div", "div_")
def combine(call: Rule, a: Any, b: Any, **kwargs: Any) -> Any:
    """Arithmetic of two maps, or of a map and what is the same for every pixel and image."""
    if isinstance(a, Framed) and isinstance(b, Framed):
        if a.frame.shape[2:] != b.frame.shape[2:] or len(a) != len(b):
            return NotImplemented
        box = union(a.box, b.box)
        first, second = widen(a, box), widen(b, box)
        return Framed(
            frame=once(lambda *frames: call(*frames, **kwargs), first.frame, second.frame),
            window=call(first.window, second.window, **kwargs),
            box=box,
        )
    if isinstance(a, Framed | ChannelsLast) and _same_everywhere(b, a):
        return each(a, lambda part: call(part, b, **kwargs))
    if isinstance(b, Framed | ChannelsLast) and _same_everywhere(a, b):
        return each(b, lambda part: call(a, part, **kwargs))
    return NotImplemented


def _same_everywhere(other: Any, value: Framed | ChannelsLast) -> bool:
    """Whether a number, or a tensor that broadcasts over pixels and images: a scale for each channel."""
    if isinstance(other, int | float):
        return True
    if not isinstance(other, Tensor) or other.ndim > 4:
        return False
    shape = (1,) * (4 - other.ndim) + tuple(other.shape)
    return shape[:3] == (1, 1, 1) if isinstance(value, ChannelsLast) else (shape[0], *shape[2:]) == (1, 1, 1)


@for_functions(torch.cat, torch.concat)
def concatenate(call: Rule, values: Any, dim: int = 0, **others: Any) -> Any:
    """Channels of several maps beside each other."""
    if others or dim not in (1, -3) or not all(isinstance(value, Framed) for value in values):
        return NotImplemented
    box = values[0].box
    for value in values[1:]:
        box = union(box, value.box)
    wide = [widen(value, box) for value in values]
    frame = once(lambda *frames: torch.cat(frames, 1), *(v.frame for v in wide))
    return Framed(frame=frame, window=torch.cat([v.window for v in wide], 1), box=box)
