"""3 × 3 convolution with a quarter of the multiplications: Winograd's minimal filtering F(4 × 4, 3 × 3).

It is an algebraic identity, not an approximation: y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A for a filter g of 3 × 3, a tile d of
6 × 6 inputs and its 4 × 4 outputs y; the brackets are summed over the input channels. A tile takes 36 multiplications a
channel pair instead of 144. In float32 the rounding error is a few times that of the direct sum, below 1e-5 relative;
in float64 it is below 1e-13.

Reference: Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray, arXiv 1509.09308, section 4.3.
"""

import functools
import math
import threading

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.engine import onednn

TILE = 4
"""Height and width of a tile of outputs."""

TAPS = 36
"""Numbers in a tile of 6 × 6 inputs: as many as its multiplications a channel pair."""

CACHE_BYTES = 6 * 2**20
"""Size of the pieces that are transformed one by one: near to a core's caches, and worth reading the filters for."""

READ, TRANSFORM = 24, 110
"""Costs in multiplications, see `pays`.

They were fitted to times of both ways with 64 to 512 channels and 1 to 16 images, on an AMD EPYC with AVX-512."""

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
    """One of the matrices of the transformations."""
    with torch.inference_mode(False):
        return torch.tensor(rows, dtype=torch.float64).to(dtype)


_workspace = threading.local()


def _scratch(index: int, size: int, dtype: torch.dtype) -> Tensor:
    """One of this thread's two buffers, which every call uses again, so that they stay in a core's cache."""
    buffers: dict[tuple[int, torch.dtype], Tensor] = _workspace.__dict__.setdefault("buffers", {})
    if (index, dtype) not in buffers or buffers[index, dtype].numel() < size:
        with torch.inference_mode(False):  # Later calls, outside of it, use the buffer too.
            buffers[index, dtype] = torch.empty(size, dtype=dtype)
    return buffers[index, dtype]


class Taps:
    """3 × 3 filters in Winograd's domain.

    Args:
        weight: o × c × 3 × 3.
    """

    def __init__(self, weight: Float[Tensor, "o c 3 3"]) -> None:
        self.out, self.channels = weight.shape[:2]
        self._filters = onednn.Filters(_transform_filters(weight), groups=TAPS)

    def products(self, tiles: Float[Tensor, "t 36 c"]) -> Float[Tensor, "t 36 o"]:
        """The products of tiles and filters, summed over the input channels at each of a tile's 36 positions.

        Args:
            tiles: transformed tiles of inputs.
        """
        if not onednn.runs(tiles):
            plain = self._filters.plain().view(TAPS, self.out, self.channels)
            result: Tensor = torch.einsum("tpc,poc->tpo", tiles, plain)
            return result
        # A 1 × 1 convolution with 36 groups of c channels, over a column of t pixels: 1 × (36 c) × t × 1
        maps = tiles.view(1, len(tiles), 1, -1).permute(0, 3, 1, 2)
        filters = self._filters.for_input(maps)
        return onednn.correlate(maps, filters, groups=TAPS).permute(0, 2, 3, 1).view(len(tiles), TAPS, self.out)


def _transform_filters(weight: Float[Tensor, "o c 3 3"]) -> Float[Tensor, "36*o c 1 1"]:
    """G g Gᵀ of each filter g, computed in float64."""
    taps = weight.detach().double().permute(2, 3, 0, 1).contiguous()
    transformed = torch.einsum("pi,qj,ijoc->pqoc", _matrix(G, torch.float64), _matrix(G, torch.float64), taps)
    return transformed.reshape(-1, weight.shape[1], 1, 1).to(weight.dtype)


def convolve(
    images: Float[Tensor, "b c h w"], taps: Taps, bias: Tensor | None, padding: tuple[int, int]
) -> Float[Tensor, "b o h2 w2"]:
    """Correlate with 3 × 3 filters at stride 1.

    Args:
        images: the input.
        taps: the filters.
        bias: a value for each output channel, or None.
        padding: zeros above and below, and on the left and right, in pixels.

    Returns:
        The output, in channels-last memory.
    """
    b, c, h, w = images.shape
    height, width = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
    down, across = -(-height // TILE), -(-width // TILE)
    result = torch.empty(
        (b, taps.out, height, width), dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    # As many images at a time as fit CACHE_BYTES, in equal pieces.
    bytes_an_image = TAPS * down * across * max(c, taps.out) * images.element_size()
    chunk_size = -(-b // -(-b * bytes_an_image // CACHE_BYTES))
    buffer_size = chunk_size * bytes_an_image // images.element_size()
    rows_buffer, tiles_buffer = (_scratch(i, buffer_size, images.dtype) for i in (0, 1))
    for start in range(0, b, chunk_size):
        chunk = images[start : start + chunk_size].permute(0, 2, 3, 1)
        n = len(chunk)
        padded = _view(tiles_buffer, n, TILE * down + 2, TILE * across + 2, c).zero_()
        padded[:, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = chunk
        products = taps.products(_transform_inputs(padded, rows_buffer, tiles_buffer, down, across))
        inside = _transform_outputs(products, rows_buffer, tiles_buffer, n, down, across)[:, :height, :width]
        target = result.permute(0, 2, 3, 1)[start : start + n]
        if bias is None:
            target.copy_(inside)
        else:
            torch.add(inside, bias, out=target)
    return result


def _transform_inputs(
    padded: Float[Tensor, "n h w c"], rows_buffer: Tensor, tiles_buffer: Tensor, down: int, across: int
) -> Float[Tensor, "t 36 c"]:
    """Bᵀ d B of each tile d, which overlaps its neighbours by two pixels; tiles in the order across, down, image.

    The result lies in `tiles_buffer`, and so does `padded`, which has been read by then.
    """
    n, _, width, c = padded.shape
    matrix = _matrix(B_T, padded.dtype)
    # Bᵀ d, over the rows: down × n × 6 × (w c)
    rows = _view(rows_buffer, down, n, 6, width * c)
    for i in range(down):
        strip = padded[:, TILE * i : TILE * i + 6].view(n, 6, -1)
        torch.bmm(matrix.expand(n, 6, 6), strip, out=rows[i])
    # (Bᵀ d) B, over the columns: across × (down n 6) × 6 × c
    lines = rows.view(down * n * 6, width, c)
    tiles = _view(tiles_buffer, across, len(lines), 6, c)
    for i in range(across):
        torch.bmm(matrix.expand(len(lines), 6, 6), lines[:, TILE * i : TILE * i + 6], out=tiles[i])
    return tiles.view(-1, TAPS, c)


def _transform_outputs(
    products: Float[Tensor, "t 36 o"], rows_buffer: Tensor, tiles_buffer: Tensor, n: int, down: int, across: int
) -> Float[Tensor, "n h w o"]:
    """Aᵀ m A of each tile m, put side by side."""
    count, out = len(products), products.shape[2]
    matrix = _matrix(A_T, products.dtype)
    # Aᵀ m, over the rows: t × 4 × (6 o)
    rows = _view(rows_buffer, count, TILE, 6 * out)
    torch.bmm(matrix.expand(count, TILE, 6), products.reshape(count, 6, 6 * out), out=rows)
    # (Aᵀ m) A, over the columns: (t 4) × 4 × o
    tiles = _view(tiles_buffer, count * TILE, TILE, out)
    torch.bmm(matrix.expand(len(tiles), TILE, 6), rows.view(len(tiles), 6, out), out=tiles)
    whole = _view(rows_buffer, n, down, TILE, across, TILE, out)
    whole.copy_(tiles.view(across, down, n, TILE, TILE, out).permute(2, 1, 3, 0, 4, 5))
    return whole.view(n, TILE * down, TILE * across, out)


def _view(buffer: Tensor, *shape: int) -> Tensor:
    """The beginning of a buffer as a tensor of a shape."""
    return buffer[: math.prod(shape)].view(shape)


def pays(*, images: int, channels: int, out: int, height: int, width: int) -> bool:
    """Whether Winograd's filtering is faster than the direct sum: with many channels, and few outputs beyond the edge.

    Both costs are in multiplications for each pair of channels. Reading a filter's value costs as much as `READ` of
    them, the transformations of a value as much as `TRANSFORM`.

    Args:
        images: number of images in the batch.
        channels: number of input channels.
        out: number of output channels.
        height: of the output, in pixels.
        width: of the output, in pixels.
    """
    if channels % 16 or out % 16:
        return False  # Processors compute 16 channels at a time.
    tiles = images * -(-height // TILE) * -(-width // TILE)
    direct = 9 * (images * height * width + READ)
    return direct > 1.1 * TAPS * (tiles * (1 + TRANSFORM / channels + TRANSFORM / out) + READ)
