"""A frozen convolution as the engine runs it: with its normalisation and clipping folded in, forward and backward.

What makes it faster than `nn.Conv2d` and the layers behind it: one pass over the output instead of three, nothing kept
for the backward pass but a clipped output, forward kernels for the gradient too, Winograd's filtering for 3 × 3
filters, and no weight gradient that nobody asks for.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine import onednn, winograd
from reprogram.engine.clip import Bounds

Padding = tuple[int, int]
"""Zeros above and below, and on the left and right."""

SMALL_PRODUCT = 32e6 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 4e6
"""Multiplications up to which a 1 × 1 convolution goes to the BLAS: it starts in 5 µs, oneDNN in 50. With AVX-512 MKL
may compute with half of the vector width."""

PACKED_UP_TO = 512
"""Pixels of all images of an input: 1.3 to 3 times faster for 49, 4 % for 784 (a copy of the filters is kept)."""


def pair(value: Any) -> tuple[int, int]:
    """An option that PyTorch takes as one number or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class Convolution(nn.Module):
    """y = clip(x ∗ weight + bias), without gradients for weight and bias.

    Args:
        weight: o × c / groups × kh × kw; kept in channels-last memory.
        bias: o, or None.
        stride: down and across.
        padding: zeros on every side, or "same" for TensorFlow's: as many as it takes to give ⌈size / stride⌉ outputs,
            the odd one below and right.
        dilation: down and across.
        groups: of channels.

    Attributes:
        kernel: height and width of the filters.
        depthwise: whether every channel has a filter of its own.
        bounds: what the output is clipped to.
        owns_gradient: whether nobody else reads the gradient that the output gets, so that it may be overwritten.
        plans: how it runs on shared maps, by their size and the window's place.
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
        """Drop what was derived from the weight, for a copy with another one."""
        self._derived = {}

    def forward(self, input: Tensor) -> Tensor:
        """Convolve whole maps, with the argument's name of `nn.Conv2d`."""
        if input.ndim == 3:
            return self.forward(input[None])[0]
        images = input
        (top, bottom), (left, right) = (self.pads(axis, images.shape[2 + axis]) for axis in (0, 1))
        if top == bottom and left == right:
            return self.padded(images, (top, left))
        return self.padded(F.pad(images, (left, right, top, bottom)), (0, 0))

    def padded(self, images: Tensor, padding: Padding) -> Tensor:
        """Convolve with this padding instead of the layer's own."""
        if not (images.requires_grad and torch.is_grad_enabled()):
            return self.correlate(images, padding)
        result: Tensor = _Convolve.apply(images, self, padding)
        return result

    def pads(self, axis: int, size: int) -> tuple[int, int]:
        """Zeros before and after an axis of this size."""
        if not isinstance(self.padding, str):
            return self.padding[axis], self.padding[axis]
        stride, reach = self.stride[axis], (self.kernel[axis] - 1) * self.dilation[axis]
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        return total // 2, total - total // 2

    def correlate(self, images: Tensor, padding: Padding) -> Tensor:
        """The output, outside of autograd."""
        if self._steps_over(padding):
            read = images[..., :: self.stride[0], :: self.stride[1]].contiguous(memory_format=torch.channels_last)
            return self._unstrided.correlate(read, padding)
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
        """The gradient of an input of this shape, from that of the unclipped output."""
        above, left = ((self.kernel[i] - 1) * self.dilation[i] - padding[i] for i in (0, 1))
        if self.stride == (1, 1) and min(above, left) >= 0:
            return self._transposed.correlate(gradient, (above, left))
        unread = torch.empty(
            tuple(shape), dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        )
        if self._steps_over(padding):
            read = unread.zero_()[..., :: self.stride[0], :: self.stride[1]]
            read.copy_(self._unstrided.input_gradient(gradient, read.shape, padding))
            return unread
        options = self.stride, padding, self.dilation, False, [0, 0], self.groups
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, unread, self.weight, None, *options, [True, False, False]
        )[0]
        return found

    @property
    def _movement(self) -> dict[str, Any]:
        return {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}

    @property
    def _transposed(self) -> "Convolution":
        """What gives the gradient of the input at a stride of one: of a convolution's kernels, forward is the faster.

        The same filters, turned, from the outputs to the inputs.
        """
        if "transposed" not in self._derived:
            groups, (out, channels, height, width) = self.groups, self.weight.shape
            turned = self.weight.flip(2, 3).reshape(groups, out // groups, channels, height, width).transpose(1, 2)
            self._derived["transposed"] = Convolution(
                turned.reshape(groups * channels, out // groups, height, width),
                None,
                stride=(1, 1),
                padding=(0, 0),
                dilation=self.dilation,
                groups=groups,
            )
        found: Convolution = self._derived["transposed"]
        return found

    def _steps_over(self, padding: Padding) -> bool:
        """Whether it reads some pixels alone, each by itself: then it is a 1 × 1 convolution of these."""
        return self.kernel == (1, 1) and self.stride != (1, 1) and padding == (0, 0)

    @property
    def _unstrided(self) -> "Convolution":
        """The same filters at a stride of one."""
        if "unstrided" not in self._derived:
            options: dict[str, Any] = {"padding": (0, 0), "dilation": (1, 1), "groups": self.groups}
            found = Convolution(self.weight, self.bias, stride=(1, 1), **options)
            found.bounds = self.bounds
            self._derived["unstrided"] = found
        kept: Convolution = self._derived["unstrided"]
        return kept

    @property
    def _taps(self) -> winograd.Taps:
        if "taps" not in self._derived:
            self._derived["taps"] = winograd.Taps(self.weight)
        found: winograd.Taps = self._derived["taps"]
        return found

    def _filters(self, images: Tensor, options: dict[str, Any]) -> Tensor:
        """The weight; packed beforehand where the input is so small that packing it would cost much of the time.

        Depthwise filters are small, so that theirs always is (1 to 14 % faster).
        """
        if not self.depthwise and len(images) * images.shape[2] * images.shape[3] > PACKED_UP_TO:
            return self.weight
        padding = options["padding"]
        if ("filters", padding) not in self._derived:
            self._derived["filters", padding] = onednn.Filters(self.weight, **options)
        filters: onednn.Filters = self._derived["filters", padding]
        return filters.for_input(images)

    def before_clipping(self, gradient: Tensor, kept: Tensor | None) -> Tensor:
        """The gradient of the unclipped output."""
        return self.bounds.gradient(gradient, kept, overwrite=self.owns_gradient)

    def _by_product(self, images: Tensor, padding: Padding) -> bool:
        if self.kernel != (1, 1) or self.stride != (1, 1) or self.groups != 1 or padding != (0, 0):
            return False
        return images.device.type == "cpu" and images.numel() * len(self.weight) <= SMALL_PRODUCT

    def _product(self, images: Tensor) -> Tensor:
        """A 1 × 1 convolution as a product of its pixels with the filters."""
        if "columns" not in self._derived:
            self._derived["columns"] = self.weight.flatten(1).t().contiguous()
        columns: Tensor = self._derived["columns"]
        (b, c, h, w), (_, out) = images.shape, columns.shape
        result = torch.empty((b, out, h, w), dtype=images.dtype, memory_format=torch.channels_last)
        pixels, rows = images.permute(0, 2, 3, 1).reshape(-1, c), result.permute(0, 2, 3, 1).view(-1, out)
        if self.bias is None:
            torch.mm(pixels, columns, out=rows)
        else:
            torch.addmm(self.bias, pixels, columns, out=rows)
        return result

    def _by_winograd(self, images: Tensor, padding: Padding) -> bool:
        if self.kernel != (3, 3) or self.stride != (1, 1) or self.dilation != (1, 1) or self.groups != 1:
            return False
        if not len(images) or images.device.type != "cpu" or images.dtype not in (torch.float32, torch.float64):
            return False
        out, channels = self.weight.shape[:2]
        height, width = (images.shape[2 + axis] + 2 * padding[axis] - 2 for axis in (0, 1))
        return winograd.pays(images=len(images), channels=channels, out=out, height=height, width=width)


class _Convolve(torch.autograd.Function):
    """`Convolution` on an ordinary batch."""

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
