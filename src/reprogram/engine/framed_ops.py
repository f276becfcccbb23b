"""Feature maps as `Framed`, equal for the whole batch outside a window, and what operations on them are made of.

The frame of a canvas is the same for every image, so every activation outside the receptive field of the task image is
too. It is computed once (batch 1); only the window is computed for each image. Nothing is approximated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reprogram.engine.frame_cache import cached, is_caching
from reprogram.engine.precision import batch_sum
from reprogram.engine.receptive_field import SlidingAxis, beyond, border_strips, common, receptive_field
from reprogram.framed import Box, Framed

DENSE_FROM = 0.7
"""Share of the map's pixels from which a window makes dense execution as cheap."""


def crop(value: Framed, region: Box, fill: float = 0.0) -> Tensor:
    """A region of every image.

    Args:
        value: feature maps.
        region: in the map's pixels; it may reach over the map's edge.
        fill: the value beyond the edge.

    Returns:
        b × C × the region's height × its width.
    """
    if region == value.box:
        return value.window
    if is_caching():
        around: Tensor = cached(
            lambda frame: paste(frame, _frame_behind(frame, value.box), value.box, region, fill), value.frame
        )
        result = torch.empty(
            (len(value), *around.shape[1:]),
            dtype=around.dtype,
            device=around.device,
            memory_format=torch.channels_last,
        )
        return _put_window(result.copy_(around), value.window, value.box, region)
    pasted: Tensor = _Paste.apply(value.frame, value.window, value.box, region, fill)
    return pasted


def _frame_behind(frame: Tensor, box: Box) -> Tensor:
    """The frame's own pixels at the window's position, as a window."""
    return frame[..., box.rows, box.columns]


@dataclass(frozen=True)
class ChannelsLast:
    """`Framed` maps that the host has permuted to b × H × W × C, as some do for LayerNorm and linear layers.

    Attributes:
        maps: the maps before the permutation.
    """

    maps: Framed


def dense(value: Framed | ChannelsLast) -> Tensor:
    """The ordinary batch of whole maps.

    Args:
        value: feature maps.

    Returns:
        b × C × H × W in channels-last memory, or b × H × W × C for `ChannelsLast`.
    """
    if isinstance(value, ChannelsLast):
        return dense(value.maps).permute(0, 2, 3, 1)
    return crop(value, Box(top=0, left=0, height=value.frame.shape[2], width=value.frame.shape[3]))


def grow_window(value: Framed, box: Box) -> Framed:
    """The same maps with a larger window.

    Args:
        value: feature maps.
        box: the new window's position, which covers the old one's.
    """
    return value if box == value.box else Framed(frame=value.frame, window=crop(value, box), box=box)


def map_pixels(value: Framed | ChannelsLast, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function that acts on every pixel alike, to the frame once and to the window of each image.

    Args:
        value: feature maps.
        function: takes and returns n × C × h × w, or n × h × w × C for `ChannelsLast`.

    Returns:
        Maps of the same kind with the window at the same position.
    """
    if isinstance(value, ChannelsLast):
        return ChannelsLast(
            map_pixels(value.maps, lambda part: function(part.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
        )
    return Framed(frame=cached(function, value.frame), window=function(value.window), box=value.box)


def covers(box: Box, out: torch.Size) -> bool:
    """Whether a window is so large that dense execution is as cheap.

    Args:
        box: the window's position.
        out: shape of the maps, 1 × C × H × W.
    """
    return box.height * box.width > DENSE_FROM * out[2] * out[3]


def slide(
    value: Framed,
    rows: SlidingAxis,
    columns: SlidingAxis,
    whole: Callable[[Tensor], Tensor],
    inner: Callable[[Tensor], Tensor],
    fill: float = 0.0,
) -> Framed | Tensor:
    """Run a sliding operation on the frame once and on the window of each image.

    Args:
        value: the operation's input.
        rows: how the operation moves down.
        columns: how it moves across.
        whole: the operation with its padding.
        inner: the operation without padding.
        fill: the value of its padding.

    Returns:
        The output as `Framed`; as a tensor where the window covers most of it, or where no output reads the window.
    """
    shared: Tensor = cached(whole, value.frame)
    field = receptive_field(value, rows, columns, shared.shape)
    if field is None:
        return shared.repeat(len(value), 1, 1, 1)
    if covers(field.box, shared.shape):
        return whole(dense(value))
    window = inner(crop(value, field.region, fill))
    assert window.shape[2:] == (field.box.height, field.box.width)
    return Framed(frame=shared, window=window, box=field.box)


def paste(frame: Tensor, window: Tensor, box: Box, region: Box, fill: float = 0.0) -> Tensor:
    """A region of every image, copied together from the window, the frame around it and a value beyond the edge.

    Args:
        frame: 1 × C × H × W.
        window: b × C × h × w.
        box: the window's position.
        region: in the map's pixels; it may reach over the map's edge.
        fill: the value beyond the edge.

    Returns:
        b × C × the region's height × its width; `window` itself where the region is the window.
    """
    if region == box:
        return window
    _, channels, height, width = frame.shape
    result = torch.empty(
        (window.shape[0], channels, region.height, region.width),
        dtype=window.dtype,
        device=window.device,
        memory_format=torch.channels_last,
    )
    for target in beyond(region, height, width):
        result[target] = fill
    for target, source in border_strips(region, box, height, width):
        result[target] = frame[source]
    return _put_window(result, window, box, region)


def _put_window(pasted: Tensor, window: Tensor, box: Box, region: Box) -> Tensor:
    """Write the part of the window that lies in a region into that region."""
    for target, source in common(region, box):
        pasted[target] = window[source]
    return pasted


def scatter_add(grad_frame: Tensor, grad_region: Tensor, box: Box, region: Box) -> None:
    """Add a pasted region's gradient to the frame's, summed over the batch, where the region was copied from the frame.

    Args:
        grad_frame: gradient of the frame, 1 × C × H × W; it is changed.
        grad_region: gradient of the pasted region, b × C × its height × its width.
        box: the window's position.
        region: in the map's pixels.
    """
    for source, target in border_strips(region, box, *grad_frame.shape[2:]):
        grad_frame[target] += batch_sum(grad_region[source])


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros in channels-last memory: sums of maps in different layouts take ten times as long.

    Args:
        shape: b, c, h, w.
        like: a tensor of their type, on their device.
    """
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=torch.channels_last).zero_()


def gather(grad_region: Tensor, shape: torch.Size, box: Box, region: Box) -> Tensor:
    """The window's gradient: that of a pasted region where the region was copied from the window, zero elsewhere.

    Args:
        grad_region: gradient of the pasted region, b × C × its height × its width.
        shape: of the window, b × C × h × w.
        box: the window's position.
        region: in the map's pixels.
    """
    overlaps = common(region, box)
    if region.intersection(box) == box:
        return grad_region[overlaps[0][0]]
    grad_window = zeros(shape, grad_region)
    for source, target in overlaps:
        grad_window[target] = grad_region[source]
    return grad_window


class _Paste(torch.autograd.Function):
    """`paste` with its gradient."""

    @staticmethod
    def forward(ctx: Any, frame: Tensor, window: Tensor, box: Box, region: Box, fill: float) -> Tensor:
        """Copy each pixel once."""
        ctx.boxes = box, region
        ctx.shapes = frame.shape, window.shape
        return paste(frame, window, box, region, fill)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """The window's pixels get their own gradient, the frame's the sum over the batch."""
        (gradient,) = gradients
        box, region = ctx.boxes
        grad_frame = grad_window = None
        if ctx.needs_input_grad[0]:
            grad_frame = zeros(ctx.shapes[0], gradient)
            scatter_add(grad_frame, gradient, box, region)
        if ctx.needs_input_grad[1]:
            grad_window = gather(gradient, ctx.shapes[1], box, region)
        return grad_frame, grad_window, None, None, None
