"""Feature maps as `Framed`: equal for the whole batch outside a box, and how a sliding operation reads them.

The frame of a canvas is the same for every image, so every activation outside the receptive field of the task image is
too. It is computed once (batch 1); only the window is computed for each image. Nothing is approximated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reprogram.framed import Box, Framed

DENSE_FROM = 0.7
"""Part of the map that the window may cover before dense execution is as cheap."""


def crop(value: Framed, region: Box, fill: float = 0.0) -> Tensor:
    """The b × C part of every image in a region, which may reach over the map's edge.

    Args:
        value: feature maps.
        region: in the map's pixels.
        fill: what lies beyond the edge.
    """
    pasted: Tensor = _Paste.apply(value.frame, value.window, value.box, region, fill)
    return pasted


def dense(value: Framed) -> Tensor:
    """The ordinary b × C × H × W batch, channels last."""
    return crop(value, Box(top=0, left=0, height=value.frame.shape[2], width=value.frame.shape[3]))


def widen(value: Framed, box: Box) -> Framed:
    """The same maps with a larger window."""
    return value if box == value.box else Framed(frame=value.frame, window=crop(value, box), box=box)


def each(value: Framed, function: Callable[[Tensor], Tensor]) -> Framed:
    """Apply what acts on every pixel alike."""
    return Framed(frame=function(value.frame), window=function(value.window), box=value.box)


def union(a: Box, b: Box) -> Box:
    """The smallest box that covers both."""
    top, left = min(a.top, b.top), min(a.left, b.left)
    return Box(
        top=top,
        left=left,
        height=max(a.rows.stop, b.rows.stop) - top,
        width=max(a.columns.stop, b.columns.stop) - left,
    )


@dataclass(frozen=True, kw_only=True)
class Slide:
    """How a sliding operation moves over one axis.

    Attributes:
        kernel: taps.
        stride: pixels a step.
        dilation: pixels between taps.
        before: padding at the start.
    """

    kernel: int
    stride: int
    dilation: int
    before: int

    @property
    def reach(self) -> int:
        """Pixels from the first tap to the last."""
        return (self.kernel - 1) * self.dilation

    def touched(self, start: int, size: int, out: int) -> tuple[int, int]:
        """First and one past the last output that reads any of `size` pixels from `start`, of `out` outputs."""
        first = max(-(-(start + self.before - self.reach) // self.stride), 0)
        last = min((start + size - 1 + self.before) // self.stride, out - 1)
        return first, last + 1

    def read(self, first: int, end: int) -> tuple[int, int]:
        """First pixel that the outputs from `first` to before `end` read, and how many."""
        start = first * self.stride - self.before
        return start, (end - 1) * self.stride - self.before + self.reach + 1 - start


def slide(
    value: Framed,
    rows: Slide,
    columns: Slide,
    whole: Callable[[Tensor], Tensor],
    inner: Callable[[Tensor], Tensor],
    fill: float = 0.0,
) -> Framed | Tensor:
    """Run a sliding operation once on what is shared and, for each image, on the window alone.

    Args:
        value: the operation's input.
        rows: its movement down.
        columns: its movement across.
        whole: the operation itself, with its padding.
        inner: the same without padding.
        fill: what its padding holds.
    """
    shared = whole(value.frame)
    height, width = shared.shape[2:]
    top, bottom = rows.touched(value.box.top, value.box.height, height)
    left, right = columns.touched(value.box.left, value.box.width, width)
    if top >= bottom or left >= right:  # Strides step over the window: it isn't seen at all.
        return shared.repeat(value.window.shape[0], 1, 1, 1)
    if (bottom - top) * (right - left) > DENSE_FROM * height * width:
        return whole(dense(value))
    (y, h), (x, w) = rows.read(top, bottom), columns.read(left, right)
    window = inner(crop(value, Box(top=y, left=x, height=h, width=w), fill))
    box = Box(top=top, left=left, height=bottom - top, width=right - left)
    assert window.shape[2:] == (box.height, box.width)
    return Framed(frame=shared, window=window, box=box)


class _Paste(torch.autograd.Function):
    """A region of every image: the window where it lies, the shared map around it, `fill` beyond the edge."""

    @staticmethod
    def forward(ctx: Any, shared: Tensor, window: Tensor, box: Box, region: Box, fill: float) -> Tensor:
        """Copy each pixel once."""
        _, channels, height, width = shared.shape
        inside = region.intersection(Box(top=0, left=0, height=height, width=width))
        seen = region.intersection(box)
        ctx.places = inside, seen, box, region
        ctx.map_shape = shared.shape
        ctx.window_shape = window.shape
        result = torch.empty(
            (window.shape[0], channels, region.height, region.width),
            dtype=window.dtype,
            device=window.device,
            memory_format=torch.channels_last,
        )
        if inside != region:
            result.fill_(fill)
        if inside is not None and seen != region:
            place = inside.relative_to(region)
            result[..., place.rows, place.columns] = shared[..., inside.rows, inside.columns]
        if seen is not None:
            place, source = seen.relative_to(region), seen.relative_to(box)
            result[..., place.rows, place.columns] = window[..., source.rows, source.columns]
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """What the window gave goes back to it; the rest is summed over the batch."""
        (gradient,) = gradients
        inside, seen, box, region = ctx.places
        to_shared = to_window = None
        if ctx.needs_input_grad[1]:
            to_window = gradient.new_zeros(ctx.window_shape) if seen != box else None
            if seen is not None:
                place, source = seen.relative_to(region), seen.relative_to(box)
                part = gradient[..., place.rows, place.columns]
                if to_window is None:
                    to_window = part
                else:
                    to_window[..., source.rows, source.columns] = part
        if ctx.needs_input_grad[0]:
            to_shared = gradient.new_zeros(ctx.map_shape)
            for strip in _around(inside, seen):
                place = strip.relative_to(region)
                to_shared[..., strip.rows, strip.columns] = gradient[..., place.rows, place.columns].sum(
                    0, keepdim=True
                )
        return to_shared, to_window, None, None, None


def _around(outer: Box | None, hole: Box | None) -> list[Box]:
    """Up to four boxes that cover `outer` without `hole`."""
    if outer is None:
        return []
    if hole is None:
        return [outer]
    above, below = hole.top - outer.top, outer.rows.stop - hole.rows.stop
    before, after = hole.left - outer.left, outer.columns.stop - hole.columns.stop
    strips = [
        Box(top=outer.top, left=outer.left, height=above, width=outer.width),
        Box(top=hole.rows.stop, left=outer.left, height=below, width=outer.width),
        Box(top=hole.top, left=outer.left, height=hole.height, width=before),
        Box(top=hole.top, left=hole.columns.stop, height=hole.height, width=after),
    ]
    return [strip for strip in strips if strip.height > 0 and strip.width > 0]
