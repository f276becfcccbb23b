"""A convolution on `Framed` maps, as one node of autograd that keeps nothing but clipped outputs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.engine.convolution import Convolution
from reprogram.engine.frame_cache import cached, is_caching
from reprogram.engine.framed_ops import covers, crop, dense, gather, paste, scatter_add, zeros
from reprogram.engine.precision import batch_sum
from reprogram.engine.receptive_field import ReceptiveField, SlidingAxis, receptive_field
from reprogram.framed import Box, Framed

Pads = tuple[tuple[int, int], ...]
"""Zeros before and after each axis, in pixels."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How a convolution runs on maps of one size with the window at one position.

    Attributes:
        pads: zeros before and after each axis.
        field: the outputs that read the window and what they read; None where strides step over the window.
        dense: whether dense execution is as cheap.
    """

    pads: Pads
    field: ReceptiveField | None
    dense: bool


def _plan(layer: Convolution, value: Framed) -> _Plan:
    """The plan of a convolution, computed once for each size and window position and kept with the layer."""
    size = value.frame.shape[2:]
    key = size, value.box
    plan: _Plan | None = layer.plans.get(key)
    if plan is None:
        pads = [layer.pads(axis, size[axis]) for axis in (0, 1)]
        rows, columns = (
            SlidingAxis(kernel=layer.kernel[i], stride=layer.stride[i], dilation=layer.dilation[i], before=pads[i][0])
            for i in (0, 1)
        )
        # ⌊(size + padding - reach - 1) / stride⌋ + 1 outputs on each axis
        outputs = [(size[i] + sum(pads[i]) - (rows, columns)[i].reach - 1) // layer.stride[i] + 1 for i in (0, 1)]
        out = torch.Size((1, layer.weight.shape[0], *outputs))
        field = receptive_field(value, rows, columns, out)
        plan = _Plan(pads=tuple(pads), field=field, dense=field is not None and covers(field.box, out))
        layer.plans[key] = plan
    return plan


def slide_convolution(value: Framed, layer: Convolution) -> Framed | Tensor:
    """Run a convolution on the frame once and on the window of each image, as `slide` does for other operations.

    Args:
        value: the convolution's input.
        layer: the convolution.

    Returns:
        The output as `Framed`; as a tensor where the window covers most of it, or where no output reads the window.
    """
    plan = _plan(layer, value)
    if plan.field is None:
        shared: Tensor = cached(layer.forward, value.frame)
        return shared.repeat(len(value), 1, 1, 1)
    if plan.dense:
        return layer.forward(dense(value))
    region = plan.field.region
    if is_caching():
        window = layer.correlate(crop(value, region), (0, 0))
        return Framed(frame=cached(layer.forward, value.frame), window=window, box=plan.field.box)
    frame, window = _SlideConvolution.apply(value.frame, value.window, layer, value.box, region, plan.pads)
    return Framed(frame=frame, window=window, box=plan.field.box)


class _SlideConvolution(torch.autograd.Function):
    """A convolution of the frame and of each window with the frame around it, with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, frame: Tensor, window: Tensor, layer: Convolution, box: Box, region: Box, pads: Pads
    ) -> tuple[Tensor, Tensor]:
        """Keep the outputs where they are clipped, else nothing."""
        (top, bottom), (left, right) = pads
        padding = (top, left)
        padded = F.pad(frame, (left, right, top, bottom)) if top != bottom or left != right else frame
        if padded is not frame:
            padding = (0, 0)
        # 1 × o × H2 × W2, and b × o × h2 × w2 from b × c × the region
        out_frame = layer.correlate(padded, padding)
        out_window = layer.correlate(paste(frame, window, box, region), (0, 0))
        ctx.call = layer, box, region, padding, (top, left)
        ctx.shapes = frame.shape, padded.shape, window.shape
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            ctx.save_for_backward(layer.bounds.kept(out_frame), layer.bounds.kept(out_window))
        ctx.set_materialize_grads(False)
        return out_frame, out_window

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out_frame: Tensor | None, grad_out_window: Tensor | None) -> tuple[Tensor | None, ...]:
        """The window's pixels get their own gradient, the frame's the sum over the batch."""
        layer, box, region, padding, (top, left) = ctx.call
        frame_shape, padded_shape, window_shape = ctx.shapes
        kept_frame, kept_window = ctx.saved_tensors
        grad_frame = grad_window = None
        if ctx.needs_input_grad[0]:
            if grad_out_frame is None:
                grad_frame = None if grad_out_window is None else zeros(frame_shape, grad_out_window)
            else:
                # The frame's own convolution: 1 × o × H2 × W2 to 1 × c × H × W
                grad_unclipped = layer.before_clipping(grad_out_frame, kept_frame)
                grad_frame = layer.input_gradient(grad_unclipped, padded_shape, padding)
                if padded_shape != frame_shape:
                    grad_frame = grad_frame[..., top : top + frame_shape[2], left : left + frame_shape[3]]
        if grad_out_window is not None:
            grad_out_window = layer.before_clipping(grad_out_window, kept_window)
            if not ctx.needs_input_grad[1]:
                # The operation is linear: the gradient of the sum over the batch is one image's work.
                grad_out_window = batch_sum(grad_out_window)
            # b × o × h2 × w2 to b × c × the region
            shape = (len(grad_out_window), frame_shape[1], region.height, region.width)
            grad_region = layer.input_gradient(grad_out_window, shape, (0, 0))
            if grad_frame is not None:
                scatter_add(grad_frame, grad_region, box, region)
            if ctx.needs_input_grad[1]:
                grad_window = gather(grad_region, window_shape, box, region)
        return grad_frame, grad_window, None, None, None, None
