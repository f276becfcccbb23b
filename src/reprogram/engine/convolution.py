"""A frozen convolution as the engine runs it: with its normalisation and clipping folded in, forward and backward.

It is faster than `nn.Conv2d` and the layers after it: it passes over the output once instead of three times, keeps
nothing but a clipped output for the backward pass, computes its gradient by forward kernels too, and computes no
gradient of the weight. How it computes is in `correlation.py`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.engine.correlation import Correlation, Padding


def pair(value: Any) -> tuple[int, int]:
    """The two numbers of an option that PyTorch takes as one number or two.

    Args:
        value: a number for both axes, or one for each: down, across.
    """
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class Convolution(Correlation):
    """y = clip(x ∗ weight + bias), without gradients for weight and bias.

    Args:
        weight: o × c / groups × kh × kw; kept in channels-last memory.
        bias: o values, or None.
        stride: the step down and across, in pixels.
        padding: zeros on every side, or "same" for TensorFlow's: as many as it takes to give ⌈size / stride⌉ outputs,
            the odd one below and right.
        dilation: the distance of filter taps, down and across, in pixels.
        groups: number of groups of channels.

    Attributes:
        owns_gradient: whether the output's gradient may be overwritten, since nobody else reads it.
        plans: how the layer runs on `Framed` maps, by their size and the window's position.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: tuple[int, int],
        padding: Padding | str,
        dilation: tuple[int, int],
        groups: int,
    ) -> None:
        super().__init__(weight, bias, stride=stride, dilation=dilation, groups=groups)
        self.padding = padding
        self.owns_gradient = False
        self.plans: dict[Any, Any] = {}

    def forward(self, input: Tensor) -> Tensor:
        """Convolve whole maps with the layer's own padding.

        Args:
            input: b × c × h × w, or c × h × w; the argument's name is that of `nn.Conv2d`.
        """
        if input.ndim == 3:
            return self.forward(input[None])[0]
        images = input
        (top, bottom), (left, right) = (self.pads(axis, images.shape[2 + axis]) for axis in (0, 1))
        if top == bottom and left == right:
            return self.padded(images, (top, left))
        return self.padded(F.pad(images, (left, right, top, bottom)), (0, 0))

    def padded(self, images: Tensor, padding: Padding) -> Tensor:
        """Convolve with another padding than the layer's own.

        Args:
            images: b × c × h × w.
            padding: rows and columns of zeros on every side.
        """
        if not (images.requires_grad and torch.is_grad_enabled()):
            return self.correlate(images, padding)
        result: Tensor = _Convolve.apply(images, self, padding)
        return result

    def pads(self, axis: int, size: int) -> tuple[int, int]:
        """The layer's own padding of one axis: zeros before and after it.

        Args:
            axis: 0 down, 1 across.
            size: of the axis, in pixels.
        """
        if not isinstance(self.padding, str):
            return self.padding[axis], self.padding[axis]
        stride, reach = self.stride[axis], (self.kernel[axis] - 1) * self.dilation[axis]
        # (⌈size / stride⌉ - 1) · stride + reach + 1 pixels are read.
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        return total // 2, total - total // 2

    def before_clipping(self, gradient: Tensor, kept: Tensor | None) -> Tensor:
        """The gradient of the unclipped output.

        Args:
            gradient: the gradient of the clipped output, b × o × h2 × w2.
            kept: the result of `bounds.kept` for that output.
        """
        return self.bounds.gradient(gradient, kept, overwrite=self.owns_gradient)


class _Convolve(torch.autograd.Function):
    """`Convolution` of an ordinary batch, with its gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, layer: Convolution, padding: Padding) -> Tensor:
        """Keep the output where it is clipped, else nothing."""
        output = layer.correlate(images, padding)
        ctx.layer, ctx.padding, ctx.shape = layer, padding, images.shape
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(layer.bounds.kept(output))
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        """The gradient of the input alone."""
        gradient = ctx.layer.before_clipping(gradients[0], ctx.saved_tensors[0])
        return ctx.layer.input_gradient(gradient, ctx.shape, ctx.padding), None, None
