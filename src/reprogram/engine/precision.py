"""Half precision: which types a device multiplies in hardware, and sums that need more digits than these have."""

import functools

import torch
from torch import Tensor

from reprogram.utils.environment import is_amd

HALF = (torch.bfloat16, torch.float16)
"""The types of half precision."""

FAILURES = (RuntimeError, TypeError, ValueError, AssertionError)
"""What modules raise that weren't made for half precision."""

AMPERE = (8, 0)
"""The compute capability from which CUDA GPUs multiply bfloat16 in hardware."""


def fast_dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    """The half-precision types in which a device runs a host faster than in float32, the best for learning first.

    Of processors, those that multiply bfloat16 in tiles (AMX), and AMD's that multiply it in AVX-512, twice as many
    numbers at a time as in float32. Where Intel's have AVX-512 alone, and where none multiplies bfloat16, oneDNN takes
    up to three times as long in bfloat16 as in float32.

    Args:
        device: what the host computes on.

    Returns:
        A tuple of types; empty where float32 is the fastest.
    """
    if device.type == "cuda":
        return (torch.bfloat16,) if torch.cuda.get_device_capability(device) >= AMPERE else ()
    return (torch.bfloat16,) if device.type == "cpu" and _multiplies_bfloat16() else ()


@functools.cache
def _multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32, and PyTorch's oneDNN uses that."""
    kernels = _says(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    tiles = _says(torch.cpu, "_is_amx_tile_supported")
    return kernels and (tiles or (_says(torch.cpu, "_is_avx512_bf16_supported") and is_amd()))


def _says(module: object, name: str) -> bool:
    """Whether PyTorch has this question about the processor, and answers it by yes."""
    question = getattr(module, name, None)
    return question is not None and bool(question())


def is_half(values: Tensor) -> bool:
    """Whether a tensor is of half precision.

    Args:
        values: any tensor.
    """
    return values.dtype in HALF


def batch_sum(maps: Tensor) -> Tensor:
    """The sum over a batch, of half precision in float32 and rounded once.

    Args:
        maps: b × c × h × w.

    Returns:
        1 × c × h × w, of the same type.
    """
    if not is_half(maps):
        return maps.sum(0, keepdim=True)
    # In the order of channels-last memory PyTorch's sum is eight times as fast.
    return maps.permute(0, 2, 3, 1).sum(0, keepdim=True).permute(0, 3, 1, 2)
