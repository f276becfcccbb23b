"""3 × 3 convolution with a quarter of the multiplications: Winograd's minimal filtering F(4 × 4, 3 × 3).

An algebraic identity, not an approximation (Winograd, 1980; Lavin and Gray, arXiv 1509.09308, section 4.3): a tile of
4 × 4 outputs takes 36 multiplications a channel pair instead of 144. In float32 its rounding error is a few times
that of the direct sum, below 1e-5 relative; in float64 it is below 1e-13.
"""

import functools
import math
import threading

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.engine import onednn

TILE = 4
TAPS = 36
CACHE_BYTES = 6 * 2**20
"""What is transformed at a time: near to what a core's caches hold, and enough to read the filters for."""

READ, TRANSFORM = 24, 110
"""Read off times of both ways with 64 to 512 channels and 1 to 16 images, on an AMD EPYC with AVX-512."""

B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
A_T = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


@functools.cache
def _matrix(rows: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(rows, dtype=torch.float64).to(dtype)


_workspace = threading.local()


def _scratch(index: int, size: int, dtype: torch.dtype) -> Tensor:
    """Memory of this thread that every call uses again: what is in a core's cache stays there."""
    held: dict[tuple[int, torch.dtype], Tensor] = _workspace.__dict__.setdefault("held", {})
    if (index, dtype) not in held or held[index, dtype].numel() < size:
        with torch.inference_mode(False):  # Others will use it.
            held[index, dtype] = torch.empty(size, dtype=dtype)
    return held[index, dtype]


class Taps:
    """3 × 3 filters in Winograd's domain.

    Args:
        weight: o × c × 3 × 3.
    """

    def __init__(self, weight: Float[Tensor, "o c 3 3"]) -> None:
        self.out, self.channels = weight.shape[:2]
        self._filters = onednn.Filters(_transformed(weight), groups=TAPS)

    def products(self, spread: Float[Tensor, "t 36 c"]) -> Float[Tensor, "t 36 o"]:
        """For each of the 36 places in a tile, a product over the channels: 36 groups of a 1 × 1 convolution."""
        if not onednn.runs(spread):
            plain = self._filters.plain().view(TAPS, self.out, self.channels)
            found: Tensor = torch.einsum("tpc,poc->tpo", spread, plain)
            return found
        maps = spread.view(1, len(spread), 1, -1).permute(0, 3, 1, 2)
        filters = self._filters.for_input(maps)
        return onednn.correlate(maps, filters, groups=TAPS).permute(0, 2, 3, 1).view(len(spread), TAPS, self.out)


def _transformed(weight: Float[Tensor, "o c 3 3"]) -> Float[Tensor, "36*o c 1 1"]:
    """G g Gᵀ for each filter, computed in float64."""
    rows = weight.detach().double().permute(2, 3, 0, 1).contiguous()
    both = torch.einsum("pi,qj,ijoc->pqoc", _matrix(G, torch.float64), _matrix(G, torch.float64), rows)
    return both.reshape(-1, weight.shape[1], 1, 1).to(weight.dtype)


def convolve(
    images: Float[Tensor, "b c h w"], taps: Taps, bias: Tensor | None, padding: tuple[int, int]
) -> Float[Tensor, "b o h2 w2"]:
    """Correlate with 3 × 3 filters at stride 1, channels last.

    Args:
        images: the input.
        taps: the filters.
        bias: a value for each output channel.
        padding: zeros above and below, and on the left and right, pixels.
    """
    b, c, h, w = images.shape
    height, width = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
    down, across = -(-height // TILE), -(-width // TILE)
    result = torch.empty(
        (b, taps.out, height, width), dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    bytes_an_image = TAPS * down * across * max(c, taps.out) * images.element_size()
    together = -(-b // -(-b * bytes_an_image // CACHE_BYTES))
    one, two = (_scratch(i, together * bytes_an_image // images.element_size(), images.dtype) for i in (0, 1))
    for first in range(0, b, together):
        some = images[first : first + together].permute(0, 2, 3, 1)
        n = len(some)
        padded = _first(two, n, TILE * down + 2, TILE * across + 2, c).zero_()
        padded[:, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = some
        products = taps.products(_spread(padded, one, two, down, across))
        inside = _gathered(products, one, two, n, down, across)[:, :height, :width]
        target = result.permute(0, 2, 3, 1)[first : first + n]
        if bias is None:
            target.copy_(inside)
        else:
            torch.add(inside, bias, out=target)
    return result


def _spread(
    padded: Float[Tensor, "n h w c"], one: Tensor, two: Tensor, down: int, across: int
) -> Float[Tensor, "t 36 c"]:
    """Bᵀ d B of each tile d, which overlaps its neighbours by two pixels; tiles in the order across, down, image."""
    n, _, width, c = padded.shape
    matrix = _matrix(B_T, padded.dtype)
    rows = _first(one, down, n, 6, width * c)
    for place in range(down):
        strip = padded[:, TILE * place : TILE * place + 6].view(n, 6, -1)
        torch.bmm(matrix.expand(n, 6, 6), strip, out=rows[place])
    lines = rows.view(down * n * 6, width, c)
    both = _first(two, across, len(lines), 6, c)
    for place in range(across):
        torch.bmm(matrix.expand(len(lines), 6, 6), lines[:, TILE * place : TILE * place + 6], out=both[place])
    return both.view(-1, TAPS, c)


def _gathered(
    products: Float[Tensor, "t 36 o"], one: Tensor, two: Tensor, n: int, down: int, across: int
) -> Float[Tensor, "n h w o"]:
    """Aᵀ m A of each tile m, put side by side."""
    count, out = len(products), products.shape[2]
    matrix = _matrix(A_T, products.dtype)
    rows = _first(one, count, TILE, 6 * out)
    torch.bmm(matrix.expand(count, TILE, 6), products.reshape(count, 6, 6 * out), out=rows)
    both = _first(two, count * TILE, TILE, out)
    torch.bmm(matrix.expand(len(both), TILE, 6), rows.view(len(both), 6, out), out=both)
    whole = _first(one, n, down, TILE, across, TILE, out)
    whole.copy_(both.view(across, down, n, TILE, TILE, out).permute(2, 1, 3, 0, 4, 5))
    return whole.view(n, TILE * down, TILE * across, out)


def _first(memory: Tensor, *shape: int) -> Tensor:
    """The beginning of a piece of memory in a shape."""
    return memory[: math.prod(shape)].view(shape)


def pays(*, images: int, channels: int, out: int, height: int, width: int) -> bool:
    """Whether it is faster than the direct sum: enough channels, and few outputs beyond the edge in its tiles.

    Both costs are in multiplications for each pair of channels; reading a filter's value costs as much as `READ` of
    them, a value's way through the transformations as much as `TRANSFORM`.

    Args:
        images: of the batch.
        channels: of the input.
        out: channels of the output.
        height: of the output, pixels.
        width: of the output, pixels.
    """
    if channels % 16 or out % 16:
        return False  # What processors compute at a time.
    tiles = images * -(-height // TILE) * -(-width // TILE)
    direct = 9 * (images * height * width + READ)
    return direct > 1.1 * TAPS * (tiles * (1 + TRANSFORM / channels + TRANSFORM / out) + READ)
