"""ReLU, ReLU6 and Hardtanh: which operations they are, and cheaper forms of them that keep nothing but their output."""

import functools
import math
import mmap
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from reprogram.engine.precision import HALF, is_half

RELU_FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
SUM_FUNCTIONS = (operator.add, operator.iadd, torch.add, "add", "add_")

LARGE_BYTES = 4 * 2**20
"""Size from which a clipped output is kept for the backward pass as a mask.

That takes a quarter of the memory, but more passes over it."""

LARGE_HALF_BYTES = 8 * 2**20
"""The same in half precision, where a mask takes half of the memory, and the passes are a larger part of the step."""

APART_BYTES = 2**18
"""Size from which a mask is allocated outside the heap."""

CHUNK_BYTES = 2**20
"""Size of the pieces of an output that are masked one after the other: a piece fits a processor's cache."""

PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""Options of `mmap` for memory of this process alone; Windows has no such option."""

LAST = torch.channels_last


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The interval that values are clipped to.

    Attributes:
        low: its lower end, 0 for a ReLU.
        high: its upper end, 6 for a ReLU6.
    """

    low: float = float("-inf")
    high: float = float("inf")

    @property
    def clip(self) -> bool:
        """Whether the interval clips anything at all."""
        return self.low > -math.inf or self.high < math.inf

    @property
    def limits(self) -> tuple[float, ...]:
        """Both ends; nothing where the interval clips nothing."""
        return (self.low, self.high) if self.clip else ()

    def apply_(self, values: Tensor) -> Tensor:
        """Clip values in place.

        Args:
            values: any shape; they are overwritten.

        Returns:
            The same tensor.
        """
        return values.clamp_(self.low, self.high) if self.clip else values

    def kept(self, output: Tensor, *, large_bytes: int | None = None) -> Tensor | None:
        """The tensor that the backward pass needs: the clipped output itself, or its mask.

        Args:
            output: the clipped values.
            large_bytes: size from which the mask is kept instead of the output; by default `LARGE_BYTES`, in half
                precision `LARGE_HALF_BYTES`.

        Returns:
            The output, or a uint8 mask of its shape: 1 where a value wasn't clipped. None where nothing is clipped.
        """
        if not self.clip:
            return None
        if large_bytes is None:
            large_bytes = LARGE_HALF_BYTES if is_half(output) else LARGE_BYTES
        if output.nbytes < large_bytes:
            return output
        mask = _empty_mask(output)
        if self == RELU:
            mask.view(torch.bool).copy_(output)
            return mask
        images = max(1, CHUNK_BYTES // max(1, output[:1].nbytes)) if output.device.type == "cpu" else len(output)
        for chunk, target in zip(torch.split(output, images), torch.split(mask.view(torch.bool), images), strict=True):
            if self.low < 0 < self.high:  # A zero passed too, and y itself can't say so.
                target.copy_(((chunk <= self.low) | (chunk >= self.high)).logical_not_())
            else:
                # y where low < y < high, else 0: as a bool, whether it passed.
                target.copy_(self._through(chunk, chunk))
        return mask

    def gradient(self, gradient: Tensor, kept: Tensor | None, *, overwrite: bool = False) -> Tensor:
        """The gradient of the values before clipping: zero where they were clipped.

        Args:
            gradient: the gradient of the clipped values.
            kept: the result of `kept` for these values.
            overwrite: whether `gradient` may be overwritten, since nobody else reads it.

        Returns:
            A tensor of the gradient's shape; `gradient` itself where nothing is clipped.
        """
        if kept is None:
            return gradient
        if gradient.ndim == 4 and gradient.stride(1) != 1 and kept.is_contiguous(memory_format=LAST):
            gradient = gradient.contiguous(memory_format=LAST)  # Two layouts in one operation take ten times as long.
        if kept.dtype == torch.uint8:
            # mask · gradient; PyTorch's product of the two would first convert the bytes in memory of their own.
            return torch.empty_like(kept, dtype=gradient.dtype).copy_(kept).mul_(gradient)
        result = (
            gradient
            if overwrite and gradient.stride() == kept.stride()
            else torch.empty_like(kept, dtype=gradient.dtype)
        )
        # gradient where low < y < high, else 0
        torch.ops.aten.hardtanh_backward.grad_input(gradient, kept, *self._reached(kept.dtype), grad_input=result)
        return result

    def _through(self, gradient: Tensor, output: Tensor) -> Tensor:
        """The gradient where the output lies strictly between the bounds, else 0."""
        result: Tensor = torch.ops.aten.hardtanh_backward(gradient, output, *self._reached(output.dtype))
        return result

    def _reached(self, dtype: torch.dtype) -> tuple[float, float]:
        """Both ends as values of a type reach them: in half precision a value that was clipped to 0.7 is 0.699."""
        return (_rounded(self.low, dtype), _rounded(self.high, dtype)) if dtype in HALF else (self.low, self.high)


RELU = Bounds(low=0.0)


@functools.cache
def _rounded(number: float, dtype: torch.dtype) -> float:
    """The nearest number of a type."""
    return torch.tensor(number, dtype=dtype).item()


def _empty_mask(like: Tensor) -> Tensor:
    """An uninitialised uint8 tensor of a tensor's shape and layout; a large one is allocated outside the heap.

    A mask stays until the backward pass. On the heap it would lie in the holes that large maps leave and that the next
    maps need: a step of ResNet-50 took half as much memory again.
    """
    if like.device.type != "cpu" or like.numel() < APART_BYTES or not _is_whole(like):
        return torch.empty_like(like, dtype=torch.uint8)
    memory = mmap.mmap(-1, like.numel(), **PRIVATE)
    return torch.frombuffer(memory, dtype=torch.uint8).as_strided(like.shape, like.stride())


def _is_whole(values: Tensor) -> bool:
    """Whether a tensor fills its memory without gaps."""
    return values.is_contiguous() or values.is_contiguous(memory_format=LAST)


class Clip(nn.Module):
    """An in-place `nn.Hardtanh` that keeps only its output; values and gradient are the same.

    PyTorch's own layer clones its input for the backward pass, which takes a fifth of a step of EfficientNet-Lite.

    Args:
        layer: the Hardtanh or ReLU6, in place, that it stands for.
    """

    def __init__(self, layer: nn.Hardtanh) -> None:
        super().__init__()
        self.bounds = Bounds(low=layer.min_val, high=layer.max_val)

    def forward(self, values: Tensor) -> Tensor:
        """Clip in place.

        Args:
            values: any shape; they are overwritten.
        """
        clipped: Tensor = _Clip.apply(values, self.bounds)
        return clipped


class ClippedSum(nn.Module):
    """y = clip(a + b), the end of a residual block.

    Args:
        bounds: the interval that the sum is clipped to.
        overwrite: whether the sum may overwrite `a`, since nobody else reads it.
    """

    def __init__(self, bounds: Bounds, *, overwrite: bool) -> None:
        super().__init__()
        self.bounds, self.overwrite = bounds, overwrite

    def forward(self, a: Any, b: Any) -> Tensor:
        """Add and clip.

        Args:
            a: a tensor of any shape.
            b: the other term, a tensor or a number.
        """
        both_tensors = isinstance(a, Tensor) and isinstance(b, Tensor)
        if not both_tensors or a.shape != b.shape or a.dtype != b.dtype:
            return F.hardtanh(a + b, self.bounds.low, self.bounds.high)
        total: Tensor = _ClippedSum.apply(a, b, self.bounds, self.overwrite and a.is_contiguous(memory_format=LAST))
        return total


class _Clip(torch.autograd.Function):
    """`Clip` with its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, bounds: Bounds) -> Tensor:
        """Clip in place."""
        bounds.apply_(values)
        ctx.mark_dirty(values)
        ctx.save_for_backward(values)
        ctx.bounds = bounds
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient passes where the output lies strictly between the bounds, as the input then did."""
        return ctx.bounds.gradient(gradients[0], ctx.saved_tensors[0]), None


class _ClippedSum(torch.autograd.Function):
    """`ClippedSum` with its gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bounds: Bounds, overwrite: bool) -> Tensor:
        """Add and clip."""
        total = bounds.apply_(a.add_(b) if overwrite else a + b)
        if overwrite:
            ctx.mark_dirty(a)
        ctx.bounds = bounds
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            # The backward pass never overwrites the gradient, so that a ReLU's mask costs next to nothing in float32.
            always = bounds == RELU and not is_half(total)
            ctx.save_for_backward(bounds.kept(total, large_bytes=0 if always else None))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The same gradient for both terms."""
        gradient = ctx.bounds.gradient(gradients[0], ctx.saved_tensors[0])
        return gradient, gradient, None, None


def keep_output(layer: nn.Module) -> nn.Module:
    """The layer that the engine runs for a layer of the host.

    Args:
        layer: any layer.

    Returns:
        A `Clip` for an in-place Hardtanh or ReLU6; any other layer as it is.
    """
    return Clip(layer) if isinstance(layer, nn.Hardtanh) and layer.inplace else layer


def clipped_to(node: fx.Node, layers: dict[str, nn.Module]) -> Bounds | None:
    """The interval that an operation clips its input to.

    Args:
        node: the operation.
        layers: the modules of the graph by name.

    Returns:
        The interval of a ReLU, ReLU6 or Hardtanh; an infinite one for an operation that does nothing in evaluation
        mode; None for any other operation.
    """
    if node.op == "call_module":
        layer = layers[str(node.target)]
        if type(layer) in (nn.Identity, nn.Dropout, nn.Dropout2d):
            return Bounds()
        if type(layer) is nn.ReLU:
            return RELU
        return Bounds(low=layer.min_val, high=layer.max_val) if isinstance(layer, nn.Hardtanh) else None
    if node.target in RELU_FUNCTIONS:
        return RELU
    return Bounds(low=0.0, high=6.0) if node.target is F.relu6 else None
