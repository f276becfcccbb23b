"""Where things lie on a map: what a sliding operation sees of a window, and the parts of a region around it."""

from dataclasses import dataclass
from functools import lru_cache
from types import EllipsisType

import torch

from reprogram.framed import Box, Framed


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


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where a sliding operation sees the window.

    Attributes:
        box: the outputs that read any of it.
        region: what they read, which may lie partly beyond the map's edge.
    """

    box: Box
    region: Box


def reach(value: Framed, rows: Slide, columns: Slide, out: torch.Size) -> Reach | None:
    """How far the window is seen.

    Args:
        value: the operation's input.
        rows: its movement down.
        columns: its movement across.
        out: shape of its output.

    Returns:
        None where strides step over the window.
    """
    height, width = out[2:]
    top, bottom = rows.touched(value.box.top, value.box.height, height)
    left, right = columns.touched(value.box.left, value.box.width, width)
    if top >= bottom or left >= right:
        return None
    (y, h), (x, w) = rows.read(top, bottom), columns.read(left, right)
    return Reach(
        box=Box(top=top, left=left, height=bottom - top, width=right - left),
        region=Box(top=y, left=x, height=h, width=w),
    )


def union(a: Box, b: Box) -> Box:
    """The smallest box that covers both."""
    top, left = min(a.top, b.top), min(a.left, b.left)
    return Box(
        top=top,
        left=left,
        height=max(a.rows.stop, b.rows.stop) - top,
        width=max(a.columns.stop, b.columns.stop) - left,
    )


def boxes_around(outer: Box | None, hole: Box | None) -> list[Box]:
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


Part = tuple[EllipsisType, slice, slice]
"""An index of a rectangle of maps."""


def _part(box: Box) -> Part:
    return ..., box.rows, box.columns


@lru_cache(maxsize=4096)
def beyond(region: Box, height: int, width: int) -> list[Part]:
    """The parts of a region beyond the edge of maps of this size."""
    inside = region.intersection(Box(top=0, left=0, height=height, width=width))
    return [_part(strip.relative_to(region)) for strip in boxes_around(region, inside)]


@lru_cache(maxsize=4096)
def surroundings(region: Box, box: Box, height: int, width: int) -> list[tuple[Part, Part]]:
    """The parts of a region that lie around a window: where in the region, and where in the map."""
    inside = region.intersection(Box(top=0, left=0, height=height, width=width))
    strips = boxes_around(inside, region.intersection(box))
    return [(_part(strip.relative_to(region)), _part(strip)) for strip in strips]


@lru_cache(maxsize=4096)
def common(region: Box, box: Box) -> list[tuple[Part, Part]]:
    """The part of a region that lies in a window, if any: where in the region, and where in the window."""
    seen = region.intersection(box)
    return [] if seen is None else [(_part(seen.relative_to(region)), _part(seen.relative_to(box)))]
