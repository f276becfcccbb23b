"""Ideas that were tried for the engine and didn't help, or little: `python benchmarks/ideas.py`.

Each is timed beside what the engine does, in turn, by the processor's time of one thread.
"""

import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.utils.process import start_torch

Ways = dict[str, Callable[[], object]]


def maps(*shape: int) -> Tensor:
    """Noise in channels-last memory."""
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def chunks(channels: int, wide: int, size: int) -> Ways:
    """A block of MobileNetV2 on 16 images, a few at a time, so that its maps stay in the cache."""
    from reprogram.engine.onednn import correlate

    images, grow, shrink = maps(16, channels, size, size), maps(wide, channels, 1, 1), maps(channels, wide, 1, 1)
    taps, bias = maps(wide, 1, 3, 3), torch.randn(wide)

    def block(some: Tensor) -> Tensor:
        inner = correlate(some, grow, bias, limits=(0.0, 6.0))
        inner = correlate(inner, taps, bias, padding=(1, 1), groups=wide, limits=(0.0, 6.0))
        return correlate(inner, shrink)

    return {
        f"{count} at a time": lambda count=count: [block(some) for some in images.split(count)] for count in (16, 4, 1)
    }


def fused_sums(channels: int, out: int, size: int) -> Ways:
    """Inside a convolution: the residual sum and ReLU behind it, or the mask of a clip in the backward pass."""
    from reprogram.engine.onednn import correlate

    images, weight, bias = maps(16, channels, size, size), maps(out, channels, 1, 1), torch.randn(out)
    other = maps(16, out, size, size)
    fused = torch.ops.mkldnn._convolution_pointwise.binary
    where = (0, 0), (1, 1), (1, 1), 1
    return {
        "convolution, sum, ReLU": lambda: correlate(images, weight, bias).add_(other).relu_(),
        "in one": lambda: fused(images, other, weight, bias, *where, "add", 1.0, "relu", [], None),
        "convolution alone": lambda: correlate(images, weight, bias),
        "convolution, times a mask": lambda: correlate(images, weight).mul_(other),
        "in one, times a mask": lambda: fused(images, other, weight, None, *where, "mul", None, None, [], None),
    }


def depthwise(channels: int, size: int) -> Ways:
    """Other ways to a depthwise 3 × 3 convolution of 16 images."""
    from reprogram.engine.onednn import Filters, correlate

    images, padded, taps = (
        maps(16, channels, size, size),
        maps(16, channels, size + 2, size + 2),
        maps(channels, 1, 3, 3),
    )
    row = maps(1, channels, size + 2, 16 * (size + 2))
    packed = Filters(taps, padding=(1, 1), groups=channels).for_input(images)

    def shifted() -> Tensor:
        total = padded[..., :size, :size] * taps[:, 0, 0, 0].view(-1, 1, 1)
        for place in range(1, 9):
            down, across = divmod(place, 3)
            part = padded[..., down : down + size, across : across + size]
            total.addcmul_(part, taps[:, 0, down, across].view(-1, 1, 1))
        return total

    return {
        "packed filters (taken)": lambda: correlate(images, packed, padding=(1, 1), groups=channels),
        "plain filters": lambda: correlate(images, taps, padding=(1, 1), groups=channels),
        "padded beforehand": lambda: correlate(padded, taps, groups=channels),
        "all images in a row": lambda: correlate(row, taps, groups=channels),
        "nine shifted sums": shifted,
    }


def measure(title: str, ways: Ways, rounds: int = 15) -> None:
    """Print the median of each way, in milliseconds."""
    readings: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name in random.sample(list(ways), len(ways)):  # Who comes after a large one finds less in the cache.
            start = time.thread_time()
            ways[name]()
            if turn > 1:
                readings[name].append(time.thread_time() - start)
    found = ", ".join(f"{name} {1e3 * statistics.median(values):.2f}" for name, values in readings.items())
    print(f"{title}: {found}", flush=True)


def main() -> None:
    """Measure all."""
    start_torch(1)
    with torch.no_grad():
        for shape in ((96, 576, 14), (160, 960, 7), (24, 144, 37)):
            measure(f"block {shape}", chunks(*shape))
        for shape in ((256, 1024, 14), (512, 2048, 7)):
            measure(f"sum {shape}", fused_sums(*shape))
        for channels, size in ((576, 14), (960, 7), (144, 13)):
            measure(f"depthwise {(channels, size)}", depthwise(channels, size))


if __name__ == "__main__":
    main()
