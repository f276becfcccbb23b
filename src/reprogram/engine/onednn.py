"""oneDNN's convolution with its options open: clipping in the same pass, filters packed beforehand.

It uses all that the processor has, also where the BLAS behind PyTorch's own products doesn't: on AMD's processors MKL
computes with half of the vector width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Pair = tuple[int, int]

_CORRELATE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_PACK = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)


def runs(images: Tensor) -> bool:
    """Whether it can take this input: float32 on a processor that oneDNN knows."""
    return (
        _CORRELATE is not None
        and images.dtype == torch.float32
        and images.device.type == "cpu"
        and bool(torch.backends.mkldnn.enabled)
        and images.numel() > 0
    )


def correlate(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Pair = (0, 0),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    groups: int = 1,
    limits: Sequence[float] = (),
) -> Tensor:
    """Convolve, outside of autograd.

    Args:
        images: b × c × h × w.
        weight: o × c / groups × kh × kw, or what `pack` made of it.
        bias: o, or None.
        padding: zeros above and below, and on the left and right.
        stride: down and across.
        dilation: down and across.
        groups: of channels.
        limits: what the output is clipped to, lowest and highest; empty: it isn't.
    """
    assert _CORRELATE is not None
    how = "none" if not limits else "relu" if tuple(limits) == (0.0, float("inf")) else "hardtanh"
    scalars = list(limits) if how == "hardtanh" else []
    found: Tensor = _CORRELATE(images, weight, bias, padding, stride, dilation, groups, how, scalars, "")
    return found


def pack(
    weight: Tensor,
    images: Tensor,
    *,
    padding: Pair = (0, 0),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Lay filters out as the processor reads them for inputs like these; otherwise each call does it anew."""
    if _PACK is None:
        return weight
    with torch.inference_mode(False), torch.no_grad():
        packed: Tensor = _PACK(weight.to_mkldnn(), padding, stride, dilation, groups, list(images.shape))
    return packed
