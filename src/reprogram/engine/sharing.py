"""Feature maps as `Framed`: equal for the whole batch outside a box, and how a sliding operation reads them.

The frame of a canvas is the same for every image, so every activation outside the receptive field of the task image is
too. It is computed once (batch 1); only the window is computed for each image. Nothing is approximated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.engine.convolution import Convolution
from reprogram.engine.places import Reach, Slide, beyond, common, reach, surroundings
from reprogram.engine.tape import once, playing
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
    if region == value.box:
        return value.window
    if playing():
        around: Tensor = once(
            lambda frame: paste(frame, _hidden(frame, value.box), value.box, region, fill), value.frame
        )
        room = torch.empty(
            (len(value), *around.shape[1:]),
            dtype=around.dtype,
            device=around.device,
            memory_format=torch.channels_last,
        )
        return _put(room.copy_(around), value.window, value.box, region)
    pasted: Tensor = _Paste.apply(value.frame, value.window, value.box, region, fill)
    return pasted


def _hidden(frame: Tensor, box: Box) -> Tensor:
    """A window that shows the frame behind it."""
    return frame[..., box.rows, box.columns]


@dataclass(frozen=True)
class ChannelsLast:
    """`Framed` maps that the host has permuted to b × H × W × C, as some do for LayerNorm and linear layers.

    Attributes:
        maps: the same, not permuted.
    """

    maps: Framed


def dense(value: Framed | ChannelsLast) -> Tensor:
    """The ordinary batch, in channels-last memory."""
    if isinstance(value, ChannelsLast):
        return dense(value.maps).permute(0, 2, 3, 1)
    return crop(value, Box(top=0, left=0, height=value.frame.shape[2], width=value.frame.shape[3]))


def widen(value: Framed, box: Box) -> Framed:
    """The same maps with a larger window."""
    return value if box == value.box else Framed(frame=value.frame, window=crop(value, box), box=box)


def each(value: Framed | ChannelsLast, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply what acts on every pixel alike; of `ChannelsLast`, on b × h × w × C parts."""
    if isinstance(value, ChannelsLast):
        return ChannelsLast(
            each(value.maps, lambda part: function(part.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
        )
    return Framed(frame=once(function, value.frame), window=function(value.window), box=value.box)


def covers(box: Box, out: torch.Size) -> bool:
    """Whether a window is so large that dense execution is as cheap."""
    return box.height * box.width > DENSE_FROM * out[2] * out[3]


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
    shared: Tensor = once(whole, value.frame)
    seen = reach(value, rows, columns, shared.shape)
    if seen is None:
        return shared.repeat(len(value), 1, 1, 1)
    if covers(seen.box, shared.shape):
        return whole(dense(value))
    window = inner(crop(value, seen.region, fill))
    assert window.shape[2:] == (seen.box.height, seen.box.width)
    return Framed(frame=shared, window=window, box=seen.box)


Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a convolution runs on maps of one size with a window at one place.

    Attributes:
        pads: zeros before and after each axis.
        seen: where it sees the window; None where strides step over it.
        dense: whether dense execution is as cheap.
    """

    pads: Pads
    seen: Reach | None
    dense: bool


def plan(layer: Convolution, value: Framed) -> Plan:
    """The plan of a convolution, worked out once for each size and place and kept with the layer."""
    size = value.frame.shape[2:]
    key = size, value.box
    found: Plan | None = layer.plans.get(key)
    if found is None:
        pads = [layer.pads(axis, size[axis]) for axis in (0, 1)]
        rows, columns = (
            Slide(kernel=layer.kernel[i], stride=layer.stride[i], dilation=layer.dilation[i], before=pads[i][0])
            for i in (0, 1)
        )
        outputs = [(size[i] + sum(pads[i]) - (rows, columns)[i].reach - 1) // layer.stride[i] + 1 for i in (0, 1)]
        out = torch.Size((1, layer.weight.shape[0], *outputs))
        seen = reach(value, rows, columns, out)
        found = Plan(pads=tuple(pads), seen=seen, dense=seen is not None and covers(seen.box, out))
        layer.plans[key] = found
    return found


def slide_convolution(value: Framed, layer: Convolution) -> Framed | Tensor:
    """`slide` for a convolution: one node for autograd, and nothing kept but clipped outputs."""
    how = plan(layer, value)
    if how.seen is None:
        shared: Tensor = once(layer.forward, value.frame)
        return shared.repeat(len(value), 1, 1, 1)
    if how.dense:
        return layer.forward(dense(value))
    if playing():
        window = layer.correlate(crop(value, how.seen.region), (0, 0))
        return Framed(frame=once(layer.forward, value.frame), window=window, box=how.seen.box)
    frame, window = _SlideConvolution.apply(value.frame, value.window, layer, value.box, how.seen.region, how.pads)
    return Framed(frame=frame, window=window, box=how.seen.box)


class _SlideConvolution(torch.autograd.Function):
    """A convolution on frame and window; each window's input is the window with the frame around it."""

    @staticmethod
    def forward(
        ctx: Any,
        frame: Tensor,
        window: Tensor,
        layer: Convolution,
        box: Box,
        region: Box,
        pads: tuple[tuple[int, int], ...],
    ) -> tuple[Tensor, Tensor]:
        """Keep the outputs where they are clipped, else nothing."""
        (top, bottom), (left, right) = pads
        padding = (top, left)
        around = F.pad(frame, (left, right, top, bottom)) if top != bottom or left != right else frame
        if around is not frame:
            padding = (0, 0)
        shared = layer.correlate(around, padding)
        own = layer.correlate(paste(frame, window, box, region), (0, 0))
        ctx.call = layer, box, region, padding, (top, left)
        ctx.shapes = frame.shape, around.shape, window.shape
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            ctx.save_for_backward(layer.bounds.kept(shared), layer.bounds.kept(own))
        ctx.set_materialize_grads(False)
        return shared, own

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, to_shared: Tensor | None, to_own: Tensor | None) -> tuple[Tensor | None, ...]:
        """What the frame around a window gave is summed over the batch."""
        layer, box, region, padding, (top, left) = ctx.call
        frame_shape, around_shape, window_shape = ctx.shapes
        shared, own = ctx.saved_tensors
        to_frame = to_window = None
        if ctx.needs_input_grad[0]:
            if to_shared is None:
                to_frame = own_zeros(frame_shape, to_own)
            else:
                to_frame = layer.input_gradient(layer.before_clipping(to_shared, shared), around_shape, padding)
                if around_shape != frame_shape:
                    to_frame = to_frame[..., top : top + frame_shape[2], left : left + frame_shape[3]]
        if to_own is not None:
            to_own = layer.before_clipping(to_own, own)
            if not ctx.needs_input_grad[1]:  # The operation is linear: the sum needs one image's work.
                to_own = to_own.sum(0, keepdim=True)
            shape = (len(to_own), frame_shape[1], region.height, region.width)
            to_region = layer.input_gradient(to_own, shape, (0, 0))
            if to_frame is not None:
                spread(to_frame, to_region, box, region)
            if ctx.needs_input_grad[1]:
                to_window = taken(to_region, window_shape, box, region)
        return to_frame, to_window, None, None, None, None


def paste(frame: Tensor, window: Tensor, box: Box, region: Box, fill: float = 0.0) -> Tensor:
    """A region of every image: the window where it lies, the shared map around it, `fill` beyond the edge."""
    if region == box:
        return window
    _, channels, height, width = frame.shape
    result = torch.empty(
        (window.shape[0], channels, region.height, region.width),
        dtype=window.dtype,
        device=window.device,
        memory_format=torch.channels_last,
    )
    for place in beyond(region, height, width):
        result[place] = fill
    for place, source in surroundings(region, box, height, width):
        result[place] = frame[source]
    return _put(result, window, box, region)


def _put(pasted: Tensor, window: Tensor, box: Box, region: Box) -> Tensor:
    """Write the part of a window that lies in a region into that region."""
    for place, source in common(region, box):
        pasted[place] = window[source]
    return pasted


def spread(to_frame: Tensor, to_region: Tensor, box: Box, region: Box) -> None:
    """Add to the frame's gradient what a pasted region took from the frame, summed over the batch."""
    for place, source in surroundings(region, box, *to_frame.shape[2:]):
        to_frame[source] += to_region[place].sum(0, keepdim=True)


def taken(to_region: Tensor, shape: torch.Size, box: Box, region: Box) -> Tensor:
    """The window's part of the gradient of a pasted region."""
    parts = common(region, box)
    if region.intersection(box) == box:
        return to_region[parts[0][0]]
    to_window = to_region.new_zeros(shape)
    for place, source in parts:
        to_window[source] = to_region[place]
    return to_window


def own_zeros(shape: torch.Size, like: Tensor | None) -> Tensor | None:
    """Zeros of a shape in channels-last memory, or None without a model."""
    if like is None:
        return None
    return torch.zeros(tuple(shape), dtype=like.dtype, device=like.device).contiguous(memory_format=torch.channels_last)


class _Paste(torch.autograd.Function):
    """`paste` with its gradient."""

    @staticmethod
    def forward(ctx: Any, frame: Tensor, window: Tensor, box: Box, region: Box, fill: float) -> Tensor:
        """Copy each pixel once."""
        ctx.places = box, region
        ctx.shapes = frame.shape, window.shape
        return paste(frame, window, box, region, fill)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """What the window gave goes back to it; the rest is summed over the batch."""
        (gradient,) = gradients
        box, region = ctx.places
        to_frame = to_window = None
        if ctx.needs_input_grad[0]:
            to_frame = gradient.new_zeros(ctx.shapes[0])
            spread(to_frame, gradient, box, region)
        if ctx.needs_input_grad[1]:
            to_window = taken(gradient, ctx.shapes[1], box, region)
        return to_frame, to_window, None, None, None
