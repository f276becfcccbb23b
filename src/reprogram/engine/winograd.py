"""3 × 3 convolution with a quarter of the multiplications: Winograd's minimal filtering F(4 × 4, 3 × 3).

An algebraic identity, not an approximation (Winograd, 1980; Lavin and Gray, arXiv 1509.09308, section 4.3): a tile of
4 × 4 outputs takes 36 multiplications a channel pair instead of 144. In float32 its rounding error is a few times
that of the direct sum, below 1e-5 relative; in float64 it is below 1e-13.
"""

import functools
import threading

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 4
TAPS = 36
CACHE_BYTES = 6 * 2**20
"""What is transformed at a time: near to what a core's caches hold, and enough to read the filters for."""

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
def _both_axes(matrix: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    """The Kronecker square of a matrix: what it does to rows and columns, in one product."""
    with torch.inference_mode(False):
        values = torch.tensor(matrix, dtype=torch.float64)
        return torch.kron(values, values).to(dtype)


_workspace = threading.local()


def _scratch(index: int, size: int, dtype: torch.dtype) -> Tensor:
    """Memory of this thread that every call uses again: what is in a core's cache stays there."""
    held: dict[tuple[int, torch.dtype], Tensor] = _workspace.__dict__.setdefault("held", {})
    if (index, dtype) not in held or held[index, dtype].numel() < size:
        with torch.inference_mode(False):  # Others will use it.
            held[index, dtype] = torch.empty(size, dtype=dtype)
    return held[index, dtype]


def transform_weight(weight: Float[Tensor, "o c 3 3"]) -> Float[Tensor, "36 c o"]:
    """The filters in Winograd's domain, computed in float64."""
    out, channels = weight.shape[:2]
    flat = weight.detach().double().reshape(out * channels, 9).t()
    taps = (_both_axes(G, torch.float64) @ flat).view(TAPS, out, channels)
    return taps.transpose(1, 2).contiguous().to(weight.dtype)


def convolve(
    images: Float[Tensor, "b c h w"], taps: Float[Tensor, "36 c o"], bias: Tensor | None, padding: tuple[int, int]
) -> Float[Tensor, "b o h2 w2"]:
    """Correlate with 3 × 3 filters at stride 1, channels last.

    Args:
        images: the input.
        taps: of `transform_weight`.
        bias: a value for each output channel.
        padding: zeros above and below, and on the left and right, pixels.
    """
    b, c, h, w = images.shape
    out = taps.shape[2]
    height, width = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
    down, across = -(-height // TILE), -(-width // TILE)
    result = torch.empty(
        (b, out, height, width), dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    maps = result.permute(0, 2, 3, 1)
    bytes_an_image = TAPS * down * across * max(c, out) * images.element_size()
    together = -(-b // -(-b * bytes_an_image // CACHE_BYTES))
    one, two = (_scratch(i, TAPS * together * down * across * max(c, out), images.dtype) for i in (0, 1))
    for first in range(0, b, together):
        some = images[first : first + together]
        n = len(some)
        count = n * down * across
        padded = two[: n * (TILE * down + 2) * (TILE * across + 2) * c].view(n, TILE * down + 2, TILE * across + 2, c)
        padded.zero_()
        padded[:, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = some.permute(0, 2, 3, 1)
        image, row, pixel, _ = padded.stride()
        tiles = one[: TAPS * count * c].view(6, 6, n, down, across, c)
        tiles.copy_(
            padded.as_strided(tiles.shape, (row, pixel, image, TILE * row, TILE * pixel, 1), padded.storage_offset())
        )
        spread = two[: TAPS * count * c].view(TAPS, count * c)
        torch.mm(_both_axes(B_T, images.dtype), tiles.view(TAPS, -1), out=spread)
        products = one[: TAPS * count * out].view(TAPS, count, out)
        torch.bmm(spread.view(TAPS, count, c), taps, out=products)
        values = two[: TILE**2 * count * out].view(TILE**2, count * out)
        torch.mm(_both_axes(A_T, images.dtype), products.view(TAPS, -1), out=values)
        whole = one[: TILE**2 * count * out].view(n, down, TILE, across, TILE, out)
        whole.copy_(values.view(TILE, TILE, n, down, across, out).permute(2, 3, 0, 4, 1, 5))
        inside = whole.view(n, TILE * down, TILE * across, out)[:, :height, :width]
        target = maps[first : first + n]
        if bias is None:
            target.copy_(inside)
        else:
            torch.add(inside, bias, out=target)
    return result


def pays(*, channels: int, out: int, height: int, width: int) -> bool:
    """Whether it is faster than the direct sum: enough channels, and few outputs beyond the edge in its tiles.

    Args:
        channels: of the input.
        out: channels of the output.
        height: of the output, pixels.
        width: of the output, pixels.
    """
    transforms = TAPS / out + TILE**2 / channels
    tiles = -(-height // TILE) * -(-width // TILE)
    return transforms < 0.5 and 9 * height * width > 1.7 * tiles * TAPS * (1 + transforms)
