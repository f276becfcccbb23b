"""A frozen convolution outside of autograd: its output, clipped, and the gradient of its input, each the fastest way.

Which way that is follows from shapes, the type and what the processor can do, never from a clock: the same call takes
the same way on every machine of one kind.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine import onednn, winograd
from reprogram.engine.activations import Bounds
from reprogram.engine.phases import Phase, phases
from reprogram.engine.precision import is_half

Padding = tuple[int, int]
"""Rows of zeros above and below, and columns of zeros on the left and right, in pixels."""

SMALL_PRODUCT = 32e6 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 4e6
"""Multiplications up to which a 1 × 1 convolution in float32 goes to the BLAS.

The BLAS starts in 5 µs, oneDNN in 50. With AVX-512 MKL may compute with half of the vector width."""

PACKED_UP_TO = 512
"""Pixels of all images of an input up to which filters are packed beforehand.

In float32 that is 1.3 to 3 times faster for 49 pixels and 4 % for 784, and costs a copy of the filters. In half
precision, whose convolutions take a fifth of the time, filters of more than one pixel are always packed."""

CACHE_BYTES = 2 * 2**20
"""Size of filters in half precision from which a core's cache doesn't hold them, so that each image reads them anew."""

PART_BYTES = 5 * 2**18
"""Size of the parts in which such filters are applied to all images, one part after the other."""

MANY_IMAGES = 8
"""Images from which that pays."""

LARGE_FILTERS = 128 * 128
"""Pairs of channels from which the gradient of a strided convolution in half precision is computed in phases."""


class Correlation(nn.Module):
    """y = clip(x ∗ weight + bias) for frozen filters, and the gradient of x.

    Args:
        weight: o × c / groups × kh × kw; kept in channels-last memory.
        bias: o values, or None.
        stride: the step down and across, in pixels.
        dilation: the distance of filter taps, down and across, in pixels.
        groups: number of groups of channels.

    Attributes:
        kernel: height and width of the filters.
        depthwise: whether every channel has a filter of its own.
        bounds: the interval that the output is clipped to.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> None:
        super().__init__()
        weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.kernel = (weight.shape[2], weight.shape[3])
        self.depthwise = groups == len(weight) > 1
        self.bounds = Bounds()
        self._derived: dict[Any, Any] = {}

    def forget(self) -> None:
        """Drop everything derived from the weight: a copy of this layer gets another weight."""
        self._derived = {}

    def correlate(self, images: Tensor, padding: Padding) -> Tensor:
        """The clipped output.

        Args:
            images: b × c × h × w.
            padding: rows and columns of zeros on every side.

        Returns:
            b × o × h2 × w2.
        """
        if self._skips_pixels(padding):
            pixels = images[..., :: self.stride[0], :: self.stride[1]].contiguous(memory_format=torch.channels_last)
            return self._unstrided.correlate(pixels, padding)
        if is_half(images) and images.device.type == "cpu":
            return self._correlate_half(images, padding)
        if self._by_product(images, padding):
            return self.bounds.apply_(self._product(images))
        if self._by_winograd(images, padding):
            return self.bounds.apply_(winograd.convolve(images, self._taps, self.bias, padding))
        if onednn.runs(images):
            packed = self.depthwise or len(images) * images.shape[2] * images.shape[3] <= PACKED_UP_TO
            return self._direct(images, padding, packed=packed)
        return self.bounds.apply_(F.conv2d(images, self.weight, self.bias, padding=padding, **self._movement))

    def _correlate_half(self, images: Tensor, padding: Padding) -> Tensor:
        """The clipped output in half precision on the CPU: in float32 inside where the processor isn't made for it."""
        if not onednn.runs(images):
            return self._in_float32.correlate(images.float(), padding).to(images.dtype)
        if self._is_product(padding) and onednn.multiplies():
            return self._rows_times_filters(images)
        if len(images) >= MANY_IMAGES and self.groups == 1 and self.weight.nbytes > CACHE_BYTES:
            return torch.cat([part._direct(images, padding, packed=True) for part in self._parts], 1)
        return self._direct(images, padding, packed=True)

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
        if is_half(gradient) and gradient.device.type == "cpu":
            if self.groups > 1 or not onednn.runs(gradient):  # With groups oneDNN takes up to 100 times as long.
                return self._in_float32.input_gradient(gradient.float(), shape, padding).to(gradient.dtype)
            large = len(gradient) >= MANY_IMAGES and self.weight[:, :, 0, 0].numel() >= LARGE_FILTERS
            if large and self.dilation == (1, 1):
                return self._phases_gradient(gradient, values, padding)
        options = self.stride, padding, self.dilation, False, [0, 0], self.groups
        result: Tensor = torch.ops.aten.convolution_backward(  # Of its input it reads the shape alone.
            gradient, values, self.weight, None, *options, [True, False, False]
        )[0]
        return result

    def _phases_gradient(self, gradient: Tensor, values: Tensor, padding: Padding) -> Tensor:
        """The gradient of a strided convolution's input, one phase after the other, written into `values`."""
        for phase, layer in self._phases(padding):
            pixels = phase.of(values)
            if layer is None:
                pixels.zero_()
            elif pixels.numel():
                pixels.copy_(layer.correlate(phase.outputs(gradient, values.shape[2:]), (0, 0)))
        return values

    @property
    def _movement(self) -> dict[str, Any]:
        return {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}

    def _derive(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is made of the weight, once."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def _like(self, weight: Tensor, bias: Tensor | None, **changes: Any) -> "Correlation":
        """A convolution with the same clipping, and the same movement but for some changes."""
        layer = Correlation(weight, bias, **{**self._movement, **changes})
        layer.bounds = self.bounds
        return layer

    @property
    def _transposed(self) -> "Correlation":
        """The convolution that computes the input's gradient at a stride of one: forward kernels are the faster ones.

        Its filters are this layer's, turned by 180°, with inputs and outputs exchanged.
        """

        def make() -> Correlation:
            groups, (out, channels, height, width) = self.groups, self.weight.shape
            # o × c/g × kh × kw to g × c/g × o/g × kh × kw
            turned = self.weight.flip(2, 3).reshape(groups, out // groups, channels, height, width).transpose(1, 2)
            filters = turned.reshape(groups * channels, out // groups, height, width)
            return Correlation(filters, dilation=self.dilation, groups=groups)

        layer: Correlation = self._derive("transposed", make)
        return layer

    def _skips_pixels(self, padding: Padding) -> bool:
        """Whether it is a 1 × 1 convolution with a stride: the same as one at a stride of 1 of the pixels it reads."""
        return self.kernel == (1, 1) and self.stride != (1, 1) and padding == (0, 0)

    @property
    def _unstrided(self) -> "Correlation":
        """The same filters at a stride of one."""
        layer: Correlation = self._derive("unstrided", lambda: self._like(self.weight, self.bias, stride=(1, 1)))
        return layer

    @property
    def _in_float32(self) -> "Correlation":
        """The same convolution, computed in float32."""
        bias = None if self.bias is None else self.bias.float()
        layer: Correlation = self._derive("float32", lambda: self._like(self.weight.float(), bias))
        return layer

    @property
    def _parts(self) -> list["Correlation"]:
        """The convolution in parts of its output channels, of which a core's cache holds the filters."""

        def make() -> list[Correlation]:
            count = -(-self.weight.nbytes // PART_BYTES)
            size = -(-len(self.weight) // (32 * count)) * 32  # Processors multiply tiles of 16 or 32 channels.
            weights = torch.split(self.weight, size)
            biases = [None] * len(weights) if self.bias is None else torch.split(self.bias, size)
            return [self._like(*pair) for pair in zip(weights, biases, strict=True)]

        parts: list[Correlation] = self._derive("parts", make)
        return parts

    def _phases(self, padding: Padding) -> list[tuple[Phase, "Correlation | None"]]:
        """The phases of the input with the convolution that computes their gradient; None where it is zero."""

        def make() -> list[tuple[Phase, Correlation | None]]:
            found = phases(self.kernel, self.stride, padding)
            filters = [phase.filters(self.weight) for phase in found]
            return [(p, None if f is None else Correlation(f)) for p, f in zip(found, filters, strict=True)]

        pairs: list[tuple[Phase, Correlation | None]] = self._derive(("phases", padding), make)
        return pairs

    def _direct(self, images: Tensor, padding: Padding, *, packed: bool) -> Tensor:
        """The clipped output by oneDNN's convolution.

        Depthwise filters are small and are always packed (1 to 14 % faster).
        """
        options: dict[str, Any] = {"padding": padding, **self._movement}
        weight: Tensor = self.weight
        if packed:
            filters = self._derive(("filters", padding), lambda: onednn.Filters(self.weight, **options))
            weight = filters.for_input(images)
        return onednn.correlate(images, weight, self.bias, **options, limits=self.bounds.limits)

    def _is_product(self, padding: Padding) -> bool:
        """Whether it is a matrix product of pixels and filters."""
        return self.kernel == self.stride == (1, 1) and self.groups == 1 and padding == (0, 0)

    def _rows_times_filters(self, images: Tensor) -> Tensor:
        """A 1 × 1 convolution as oneDNN's matrix product, which is up to twice as fast in half precision."""
        b, c, h, w = images.shape
        rows = images.permute(0, 2, 3, 1).reshape(-1, c)  # (b h w) × c
        weight: Tensor = self._derive("rows", lambda: self.weight.flatten(1).contiguous())
        if len(rows) <= PACKED_UP_TO:
            weight = self._derive("packed rows", lambda: onednn.pack_rows(weight))
        output = onednn.multiply(rows, weight, self.bias, self.bounds.limits)
        return output.view(b, h, w, -1).permute(0, 3, 1, 2).data  # For autograd no view, which a sum may overwrite.

    def _by_product(self, images: Tensor, padding: Padding) -> bool:
        """Whether a matrix product of the BLAS is the fastest way."""
        small = images.numel() * len(self.weight) <= SMALL_PRODUCT
        return self._is_product(padding) and images.device.type == "cpu" and small

    def _product(self, images: Tensor) -> Tensor:
        """A 1 × 1 convolution as a matrix product of pixels and filters by the BLAS."""
        columns: Tensor = self._derive("columns", lambda: self.weight.flatten(1).t().contiguous())
        (b, c, h, w), (_, out) = images.shape, columns.shape
        result = torch.empty((b, out, h, w), dtype=images.dtype, memory_format=torch.channels_last)
        # (b h w) × c pixels times c × o filters
        pixels, rows = images.permute(0, 2, 3, 1).reshape(-1, c), result.permute(0, 2, 3, 1).view(-1, out)
        if self.bias is None:
            torch.mm(pixels, columns, out=rows)
        else:
            torch.addmm(self.bias, pixels, columns, out=rows)
        return result

    @property
    def _taps(self) -> winograd.Taps:
        """The filters in Winograd's domain."""
        taps: winograd.Taps = self._derive("taps", lambda: winograd.Taps(self.weight))
        return taps

    def _by_winograd(self, images: Tensor, padding: Padding) -> bool:
        """Whether Winograd's filtering is possible, and the fastest way."""
        if self.kernel != (3, 3) or self.stride != (1, 1) or self.dilation != (1, 1) or self.groups != 1:
            return False
        if not len(images) or images.device.type != "cpu" or images.dtype not in (torch.float32, torch.float64):
            return False
        out, channels = self.weight.shape[:2]
        height, width = (images.shape[2 + axis] + 2 * padding[axis] - 2 for axis in (0, 1))
        return winograd.pays(images=len(images), channels=channels, out=out, height=height, width=width)
