"""Receptive fields: the outputs of a sliding operation that read the window, and the pixels that these read."""

from dataclasses import dataclass
from functools import lru_cache
from types import EllipsisType

import torch

from reprogram.framed import Box, Framed


@dataclass(frozen=True, kw_only=True)
class SlidingAxis:
    """How a sliding operation moves over one axis.

    Attributes:
        kernel: number of taps.
        stride: pixels between one output and the next.
        dilation: pixels between one tap and the next.
        before: pixels of padding before the axis.
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
        """The outputs that read any pixel of an interval.

        Args:
            start: first pixel of the interval.
            size: number of its pixels.
            out: number of all outputs.

        Returns:
            The first output and one past the last.
        """
        # Output i reads the pixels from i · stride - before to i · stride - before + reach.
        first = max(-(-(start + self.before - self.reach) // self.stride), 0)
        last = min((start + size - 1 + self.before) // self.stride, out - 1)
        return first, last + 1

    def read(self, first: int, end: int) -> tuple[int, int]:
        """The pixels that an interval of outputs reads.

        Args:
            first: its first output.
            end: one past its last output.

        Returns:
            The first pixel, negative in the padding, and the number of pixels.
        """
        start = first * self.stride - self.before
        return start, (end - 1) * self.stride - self.before + self.reach + 1 - start


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """The part of a sliding operation that reads the window.

    Attributes:
        box: the outputs that read any pixel of the window.
        region: the pixels that these outputs read, which may lie partly beyond the map's edge.
    """

    box: Box
    region: Box


def receptive_field(value: Framed, rows: SlidingAxis, columns: SlidingAxis, out: torch.Size) -> ReceptiveField | None:
    """The outputs that read the window, and the pixels that they read.

    Args:
        value: the operation's input.
        rows: how the operation moves down.
        columns: how it moves across.
        out: shape of its whole output, 1 × C × H × W.

    Returns:
        None where no output reads the window, because strides step over it.
    """
    height, width = out[2:]
    top, bottom = rows.touched(value.box.top, value.box.height, height)
    left, right = columns.touched(value.box.left, value.box.width, width)
    if top >= bottom or left >= right:
        return None
    (y, h), (x, w) = rows.read(top, bottom), columns.read(left, right)
    return ReceptiveField(
        box=Box(top=top, left=left, height=bottom - top, width=right - left),
        region=Box(top=y, left=x, height=h, width=w),
    )


def union(a: Box, b: Box) -> Box:
    """The smallest box that covers two boxes.

    Args:
        a: a box.
        b: another box of the same map.
    """
    top, left = min(a.top, b.top), min(a.left, b.left)
    return Box(
        top=top,
        left=left,
        height=max(a.rows.stop, b.rows.stop) - top,
        width=max(a.columns.stop, b.columns.stop) - left,
    )


def boxes_around(outer: Box | None, hole: Box | None) -> list[Box]:
    """Up to four boxes that cover a box but not a hole in it.

    Args:
        outer: the box; None is covered by no box.
        hole: a box within `outer`; None leaves all of `outer` to be covered.
    """
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


MapIndex = tuple[EllipsisType, slice, slice]
"""The index of a rectangle in maps of any number of images and channels."""


def _index(box: Box) -> MapIndex:
    return ..., box.rows, box.columns


@lru_cache(maxsize=4096)
def beyond(region: Box, height: int, width: int) -> list[MapIndex]:
    """The parts of a region beyond the map's edge.

    Args:
        region: in the map's pixels.
        height: of the map.
        width: of the map.

    Returns:
        Indices in the region.
    """
    inside = region.intersection(Box(top=0, left=0, height=height, width=width))
    return [_index(strip.relative_to(region)) for strip in boxes_around(region, inside)]


@lru_cache(maxsize=4096)
def border_strips(region: Box, box: Box, height: int, width: int) -> list[tuple[MapIndex, MapIndex]]:
    """The parts of a region that lie in the map but outside the window.

    Args:
        region: in the map's pixels.
        box: the window's position.
        height: of the map.
        width: of the map.

    Returns:
        For each part its index in the region and its index in the map.
    """
    inside = region.intersection(Box(top=0, left=0, height=height, width=width))
    strips = boxes_around(inside, region.intersection(box))
    return [(_index(strip.relative_to(region)), _index(strip)) for strip in strips]


@lru_cache(maxsize=4096)
def common(region: Box, box: Box) -> list[tuple[MapIndex, MapIndex]]:
    """The part of a region that lies in the window.

    Args:
        region: in the map's pixels.
        box: the window's position.

    Returns:
        The part's index in the region and its index in the window; empty where there is no such part.
    """
    overlap = region.intersection(box)
    return [] if overlap is None else [(_index(overlap.relative_to(region)), _index(overlap.relative_to(box)))]
