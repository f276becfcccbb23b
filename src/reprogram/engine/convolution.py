"""A frozen convolution as the engine runs it: with its normalisation and clipping folded in, forward and backward.

It is faster than `nn.Conv2d` and the layers after it: it passes over the output once instead of three times, keeps
nothing but a clipped output for the backward pass, computes its gradient by forward kernels too, uses Winograd's
filtering for 3 × 3 filters, and computes no gradient of the weight.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine import onednn, winograd
from reprogram.engine.activations import Bounds

Padding = tuple[int, int]
"""Rows of zeros above and below, and columns of zeros on the left and right, in pixels."""

SMALL_PRODUCT = 32e6 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 4e6
"""Multiplications up to which a 1 × 1 convolution goes to the BLAS.

The BLAS starts in 5 µs, oneDNN in 50. With AVX-512 MKL may compute with half of the vector width."""

PACKED_UP_TO = 512
"""Pixels of all images of an input up to which filters are packed beforehand.

That is 1.3 to 3 times faster for 49 pixels and 4 % for 784, and costs a copy of the filters."""


def pair(value: Any) -> tuple[int, int]:
    """The two numbers of an option that PyTorch takes as one number or two.

    Args:
        value: a number for both axes, or one for each: down, across.
    """
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class Convolution(nn.Module):
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
        kernel: height and width of the filters.
        depthwise: whether every channel has a filter of its own.
        bounds: the interval that the output is clipped to.
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
        super().__init__()
        weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel = pair(tuple(weight.shape[2:]))
        self.depthwise = groups == len(weight) > 1
        self.bounds = Bounds()
        self.owns_gradient = False
        self.plans: dict[Any, Any] = {}
        self._derived: dict[Any, Any] = {}

    def forget(self) -> None:
        """Drop everything derived from the weight: a copy of this layer gets another weight."""
        self._derived = {}

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

    def correlate(self, images: Tensor, padding: Padding) -> Tensor:
        """The clipped output, by the fastest of four ways and outside of autograd.

        Args:
            images: b × c × h × w.
            padding: rows and columns of zeros on every side.

        Returns:
            b × o × h2 × w2.
        """
        if self._skips_pixels(padding):
            pixels = images[..., :: self.stride[0], :: self.stride[1]].contiguous(memory_format=torch.channels_last)
            return self._unstrided.correlate(pixels, padding)
        if self._by_product(images, padding):
            return self.bounds.apply_(self._product(images))
        if self._by_winograd(images, padding):
            return self.bounds.apply_(winograd.convolve(images, self._taps, self.bias, padding))
        options: dict[str, Any] = {"padding": padding, **self._movement}
        if onednn.runs(images):
            limits = (self.bounds.low, self.bounds.high) if self.bounds.clip else ()
            return onednn.correlate(images, self._filters(images, options), self.bias, **options, limits=limits)
        return self.bounds.apply_(F.conv2d(images, self.weight, self.bias, **options))

    def input_gradient(self, gradient: Tensor, shape: Sequence[int], padding: Padding) -> Tensor:
        """The gradient of the input, from that of the unclipped output.

        Args:
            gradient: b × o × h2 × w2.
            shape: b, c, h, w of the input.
            padding: rows and columns of zeros that the input had on every side.
        """
        # A transposed convolution: the turned filters over the gradient, padded by reach - padding.
        above, left = ((self.kernel[i] - 1) * self.dilation[i] - padding[i] for i in (0, 1))
        if self.stride == (1, 1) and min(above, left) >= 0:
            return self._transposed.correlate(gradient, (above, left))
        values = torch.empty(
            tuple(shape), dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        )
        if self._skips_pixels(padding):
            pixels = values.zero_()[..., :: self.stride[0], :: self.stride[1]]
            pixels.copy_(self._unstrided.input_gradient(gradient, pixels.shape, padding))
            return values
        options = self.stride, padding, self.dilation, False, [0, 0], self.groups
        result: Tensor = torch.ops.aten.convolution_backward(  # Of its input it reads the shape alone.
            gradient, values, self.weight, None, *options, [True, False, False]
        )[0]
        return result

    @property
    def _movement(self) -> dict[str, Any]:
        return {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}

    @property
    def _transposed(self) -> "Convolution":
        """The convolution that computes the input's gradient at a stride of one: forward kernels are the faster ones.

        Its filters are this layer's, turned by 180°, with inputs and outputs exchanged.
        """
        if "transposed" not in self._derived:
            groups, (out, channels, height, width) = self.groups, self.weight.shape
            # o × c/g × kh × kw to g × c/g × o/g × kh × kw
            turned = self.weight.flip(2, 3).reshape(groups, out // groups, channels, height, width).transpose(1, 2)
            self._derived["transposed"] = Convolution(
                turned.reshape(groups * channels, out // groups, height, width),
                None,
                stride=(1, 1),
                padding=(0, 0),
                dilation=self.dilation,
                groups=groups,
            )
        layer: Convolution = self._derived["transposed"]
        return layer

    def _skips_pixels(self, padding: Padding) -> bool:
        """Whether it is a 1 × 1 convolution with a stride: the same as one at a stride of 1 of the pixels it reads."""
        return self.kernel == (1, 1) and self.stride != (1, 1) and padding == (0, 0)

    @property
    def _unstrided(self) -> "Convolution":
        """The same filters at a stride of one."""
        if "unstrided" not in self._derived:
            options: dict[str, Any] = {"padding": (0, 0), "dilation": (1, 1), "groups": self.groups}
            self._derived["unstrided"] = Convolution(self.weight, self.bias, stride=(1, 1), **options)
            self._derived["unstrided"].bounds = self.bounds
        layer: Convolution = self._derived["unstrided"]
        return layer

    @property
    def _taps(self) -> winograd.Taps:
        """The filters in Winograd's domain."""
        if "taps" not in self._derived:
            self._derived["taps"] = winograd.Taps(self.weight)
        taps: winograd.Taps = self._derived["taps"]
        return taps

    def _filters(self, images: Tensor, options: dict[str, Any]) -> Tensor:
        """The weight, packed beforehand where the input is so small that packing it would take much of the time.

        Depthwise filters are small and are always packed (1 to 14 % faster).
        """
        if not self.depthwise and len(images) * images.shape[2] * images.shape[3] > PACKED_UP_TO:
            return self.weight
        padding = options["padding"]
        if ("filters", padding) not in self._derived:
            self._derived["filters", padding] = onednn.Filters(self.weight, **options)
        filters: onednn.Filters = self._derived["filters", padding]
        return filters.for_input(images)

    def before_clipping(self, gradient: Tensor, kept: Tensor | None) -> Tensor:
        """The gradient of the unclipped output.

        Args:
            gradient: the gradient of the clipped output, b × o × h2 × w2.
            kept: the result of `bounds.kept` for that output.
        """
        return self.bounds.gradient(gradient, kept, overwrite=self.owns_gradient)

    def _by_product(self, images: Tensor, padding: Padding) -> bool:
        """Whether a matrix product of the BLAS is the fastest way."""
        if self.kernel != (1, 1) or self.stride != (1, 1) or self.groups != 1 or padding != (0, 0):
            return False
        return images.device.type == "cpu" and images.numel() * len(self.weight) <= SMALL_PRODUCT

    def _product(self, images: Tensor) -> Tensor:
        """A 1 × 1 convolution as a matrix product of pixels and filters."""
        if "columns" not in self._derived:
            self._derived["columns"] = self.weight.flatten(1).t().contiguous()
        columns: Tensor = self._derived["columns"]
        (b, c, h, w), (_, out) = images.shape, columns.shape
        result = torch.empty((b, out, h, w), dtype=images.dtype, memory_format=torch.channels_last)
        # (b h w) × c pixels times c × o filters
        pixels, rows = images.permute(0, 2, 3, 1).reshape(-1, c), result.permute(0, 2, 3, 1).view(-1, out)
        if self.bias is None:
            torch.mm(pixels, columns, out=rows)
        else:
            torch.addmm(self.bias, pixels, columns, out=rows)
        return result

    def _by_winograd(self, images: Tensor, padding: Padding) -> bool:
        """Whether Winograd's filtering is possible, and the fastest way."""
        if self.kernel != (3, 3) or self.stride != (1, 1) or self.dilation != (1, 1) or self.groups != 1:
            return False
        if not len(images) or images.device.type != "cpu" or images.dtype not in (torch.float32, torch.float64):
            return False
        out, channels = self.weight.shape[:2]
        height, width = (images.shape[2 + axis] + 2 * padding[axis] - 2 for axis in (0, 1))
        return winograd.pays(images=len(images), channels=channels, out=out, height=height, width=width)


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
