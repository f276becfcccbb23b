"""What the engine's choices in bfloat16 rest on: `python benchmarks/half_precision.py`, on a processor with AMX.

Each way is timed beside the others, in turn, by the processor's time of one thread; medians in milliseconds.
"""

from functools import partial

import torch
from ideas import Ways, measure
from torch import Tensor
from torch.nn import functional as F

from reprogram.engine import onednn
from reprogram.engine.correlation import Correlation
from reprogram.engine.precision import batch_sum, fast_dtypes
from reprogram.utils.environment import processor
from reprogram.utils.process import start_torch

HALF = torch.bfloat16


def maps(*shape: int, dtype: torch.dtype = HALF) -> Tensor:
    """Noise in channels-last memory."""
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


def backward(gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """PyTorch's own gradient of a convolution's input."""
    options = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, [True, False, False]
    result: Tensor = torch.ops.aten.convolution_backward(gradient, images, weight, None, *options)[0]
    return result


def products(channels: int, out: int, size: int) -> Ways:
    """A 1 × 1 convolution of 16 images."""
    images, weight = maps(16, channels, size, size), maps(out, channels, 1, 1)
    layer = Correlation(weight, torch.randn(out))
    single = Correlation(weight.float(), torch.randn(out))
    packed = onednn.Filters(weight).for_input(images)
    return {
        "float32": partial(single.correlate, images.float(), (0, 0)),
        "convolution": lambda: onednn.correlate(images, packed, layer.bias),
        "product": lambda: layer.correlate(images, (0, 0)),
    }


def large(channels: int, out: int, size: int) -> Ways:
    """A 3 × 3 convolution of 16 images with many filters."""
    images, layer = maps(16, channels, size, size), Correlation(maps(out, channels, 3, 3))
    single = Correlation(layer.weight.float())
    return {
        "float32": partial(single.correlate, images.float(), (1, 1)),
        "plain filters": lambda: onednn.correlate(images, layer.weight, padding=(1, 1)),
        "packed": lambda: layer._direct(images, (1, 1), packed=True),
        "in parts": lambda: layer.correlate(images, (1, 1)),
    }


def strided(channels: int, out: int, size: int, groups: int = 1) -> Ways:
    """The gradient of a 3 × 3 convolution at a stride of 2, of 16 images."""
    images, layer = (
        maps(16, channels, size, size),
        Correlation(maps(out, channels // groups, 3, 3), stride=(2, 2), groups=groups),
    )
    gradient = maps(*F.conv2d(images.float(), layer.weight.float(), None, 2, 1, 1, groups).shape)
    single = Correlation(layer.weight.float(), stride=(2, 2), groups=groups)
    return {
        "float32": partial(single.input_gradient, gradient.float(), images.shape, (1, 1)),
        "PyTorch's": lambda: backward(gradient, images, layer.weight, 2, 1, groups),
        "the engine's": lambda: layer.input_gradient(gradient, images.shape, (1, 1)),
    }


def depthwise(channels: int, size: int, kernel: int) -> Ways:
    """A depthwise convolution of 16 images."""
    images, weight = maps(16, channels, size, size), maps(channels, 1, kernel, kernel)
    layer, single = (Correlation(w, groups=channels) for w in (weight, weight.float()))
    padding = kernel // 2, kernel // 2
    return {
        "float32": partial(single.correlate, images.float(), padding),
        "bfloat16": lambda: layer.correlate(images, padding),
        "float32 inside": lambda: single.correlate(images.float(), padding).to(HALF),
    }


def sums(channels: int, size: int) -> Ways:
    """The sum over 16 images."""
    images = maps(16, channels, size, size)
    return {"PyTorch's": lambda: images.sum(0, keepdim=True), "the engine's": lambda: batch_sum(images)}


def main() -> None:
    """Measure all."""
    start_torch(1)
    torch.manual_seed(0)
    print(f"{processor()}, torch {torch.__version__}, fast in half precision: {fast_dtypes(torch.device('cpu'))}")
    with torch.no_grad():
        for shape in ((1024, 2048, 7), (256, 1024, 14), (96, 576, 14), (64, 256, 9)):
            measure(f"1 x 1 {shape}", products(*shape))
        for shape in ((512, 512, 7), (256, 256, 14)):
            measure(f"3 x 3 {shape}", large(*shape))
        for shape in ((512, 512, 14), (256, 512, 14), (96, 96, 19, 96)):
            measure(f"gradient at a stride of 2 {shape}", strided(*shape))
        for shape in ((576, 14, 3), (672, 14, 5), (96, 19, 3)):
            measure(f"depthwise {shape}", depthwise(*shape))
        measure("sum (64, 17)", sums(64, 17))


if __name__ == "__main__":
    main()
