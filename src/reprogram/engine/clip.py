"""ReLU, ReLU6 and Hardtanh: which operations they are, and cheaper forms of them that keep nothing but their output."""

import mmap
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

RELU_FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
SUM_FUNCTIONS = (operator.add, operator.iadd, torch.add, "add", "add_")

LARGE_BYTES = 4 * 2**20
"""From this size on, a clipped output is kept for the backward pass as a mask: a quarter of the memory, but more passes
over it."""

APART_BYTES = 2**18
"""From this size on, a mask lies outside the heap."""

CHUNK_BYTES = 2**20
"""Of an output, are looked at together: so many lie in a processor's cache."""

PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""How memory of this process alone is asked for; Windows has no other."""

LAST = torch.channels_last


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What values are clipped to.

    Attributes:
        low: 0 for a ReLU.
        high: 6 for a ReLU6.
    """

    low: float = float("-inf")
    high: float = float("inf")

    @property
    def clip(self) -> bool:
        """Whether anything is clipped at all."""
        return self != Bounds()

    def apply_(self, values: Tensor) -> Tensor:
        """Clip in place."""
        return values.clamp_(self.low, self.high) if self.clip else values

    def kept(self, output: Tensor, *, large_bytes: int = LARGE_BYTES) -> Tensor | None:
        """What the backward pass needs of a clipped output: itself, or a byte for each value that wasn't clipped.

        Args:
            output: what came of clipping.
            large_bytes: from this size on, bytes.
        """
        if not self.clip:
            return None
        if output.nbytes < large_bytes:
            return output
        mask = apart(output)
        if self == RELU:
            mask.view(torch.bool).copy_(output)
            return mask
        images = max(1, CHUNK_BYTES // max(1, output[:1].nbytes))
        for part, here in zip(torch.split(output, images), torch.split(mask.view(torch.bool), images), strict=True):
            here.copy_(self._through(part, part))
        return mask

    def gradient(self, gradient: Tensor, kept: Tensor | None, *, overwrite: bool = False) -> Tensor:
        """The gradient before clipping: zero where it clipped.

        Args:
            gradient: behind it.
            kept: what `kept` returned.
            overwrite: whether nobody else reads `gradient`.
        """
        if kept is None:
            return gradient
        if kept.dtype == torch.uint8:  # A product of the two would first copy the bytes to numbers of its own.
            return torch.empty_like(kept, dtype=gradient.dtype).copy_(kept).mul_(gradient)
        here = (
            gradient
            if overwrite and gradient.stride() == kept.stride()
            else torch.empty_like(kept, dtype=gradient.dtype)
        )
        torch.ops.aten.hardtanh_backward.grad_input(gradient, kept, self.low, self.high, grad_input=here)
        return here

    def _through(self, gradient: Tensor, output: Tensor) -> Tensor:
        found: Tensor = torch.ops.aten.hardtanh_backward(gradient, output, self.low, self.high)
        return found


RELU = Bounds(low=0.0)


def apart(like: Tensor) -> Tensor:
    """Bytes for as many values, outside the heap where they are many.

    What stays until the backward pass would lie in the holes that large maps leave and that the next ones need: a step
    of ResNet-50 took half as much memory again.

    Args:
        like: whose shape and layout they get.
    """
    if like.device.type != "cpu" or like.numel() < APART_BYTES or not _is_whole(like):
        return torch.empty_like(like, dtype=torch.uint8)
    memory = mmap.mmap(-1, like.numel(), **PRIVATE)
    return torch.frombuffer(memory, dtype=torch.uint8).as_strided(like.shape, like.stride())


def _is_whole(values: Tensor) -> bool:
    """Whether it fills its memory without gaps."""
    return values.is_contiguous() or values.is_contiguous(memory_format=LAST)


class Clip(nn.Module):
    """Does what an in-place `nn.Hardtanh` does, with the same gradient.

    PyTorch's own clones its input for the backward pass: a fifth of a step of EfficientNet-Lite.

    Args:
        layer: an in-place Hardtanh or ReLU6.
    """

    def __init__(self, layer: nn.Hardtanh) -> None:
        super().__init__()
        self.bounds = Bounds(low=layer.min_val, high=layer.max_val)

    def forward(self, values: Tensor) -> Tensor:
        """Clip in place."""
        clipped: Tensor = _Clip.apply(values, self.bounds)
        return clipped


class ClippedSum(nn.Module):
    """a + b, clipped: the end of a residual block.

    Args:
        bounds: what it is clipped to.
        overwrite: whether nobody else reads `a`, so that the sum may be made in its memory.
    """

    def __init__(self, bounds: Bounds, *, overwrite: bool) -> None:
        super().__init__()
        self.bounds, self.overwrite = bounds, overwrite

    def forward(self, a: Any, b: Any) -> Tensor:
        """Add and clip."""
        both = isinstance(a, Tensor) and isinstance(b, Tensor)
        if not both or a.shape != b.shape or a.dtype != b.dtype:
            return F.hardtanh(a + b, self.bounds.low, self.bounds.high)
        total: Tensor = _ClippedSum.apply(a, b, self.bounds, self.overwrite and a.is_contiguous(memory_format=LAST))
        return total


class _Clip(torch.autograd.Function):
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
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bounds: Bounds, overwrite: bool) -> Tensor:
        """Add and clip."""
        total = bounds.apply_(a.add_(b) if overwrite else a + b)
        if overwrite:
            ctx.mark_dirty(a)
        ctx.bounds = bounds
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            # Its gradient can't be made in place, so that a ReLU's mask costs next to nothing.
            ctx.save_for_backward(bounds.kept(total, large_bytes=0 if bounds == RELU else LARGE_BYTES))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The same for both."""
        gradient = ctx.bounds.gradient(gradients[0], ctx.saved_tensors[0])
        return gradient, gradient, None, None


def keep_output(layer: nn.Module) -> nn.Module:
    """`Clip` for an in-place Hardtanh or ReLU6; any other layer as it is."""
    return Clip(layer) if isinstance(layer, nn.Hardtanh) and layer.inplace else layer


def clipped_to(node: fx.Node, layers: dict[str, nn.Module]) -> Bounds | None:
    """What an operation clips its input to: ReLU, ReLU6 and Hardtanh; infinite for one that does nothing; or None."""
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
