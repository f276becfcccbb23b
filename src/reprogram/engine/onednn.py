"""oneDNN's convolution with its options open: clipping in the same pass, filters packed beforehand.

It uses all that the processor has, also where the BLAS behind PyTorch's own products doesn't: on AMD's processors MKL
computes with half of the vector width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Pair = tuple[int, int]

_CORRELATE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_LAYOUT = getattr(torch.ops.mkldnn, "_get_mkldnn_serialized_md", None)
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
        weight: o × c / groups × kh × kw, or what `Filters` made of it.
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


class Filters:
    """Filters laid out as the processor reads them, which differs among inputs; otherwise each call does it anew.

    Filters in the layout for another input are no help but a trap: oneDNN turns them round in each call, which has
    been up to 300 times slower than the convolution. Inputs that are read alike share a copy.

    Args:
        weight: o × c / groups × kh × kw. It isn't kept once there is a copy.
        options: `padding`, `stride`, `dilation` and `groups` of the convolution.
    """

    def __init__(self, weight: Tensor, **options: Any) -> None:
        self._weight = weight
        self._movement = {"padding": (0, 0), "stride": (1, 1), "dilation": (1, 1), "groups": 1, **options}
        self._by_layout: dict[bytes, Tensor] = {}
        self._by_shape: dict[tuple[int, ...], Tensor] = {}

    def plain(self) -> Tensor:
        """The filters as they were given."""
        return self._weight.to_dense() if self._weight.is_mkldnn else self._weight

    def for_input(self, images: Tensor) -> Tensor:
        """Their copy for inputs of this shape."""
        shape = tuple(images.shape)
        if shape not in self._by_shape:
            self._by_shape[shape] = self._copy(shape)
        return self._by_shape[shape]

    def _copy(self, shape: tuple[int, ...]) -> Tensor:
        if _PACK is None or _LAYOUT is None:
            return self.plain()
        how = self._movement
        with torch.inference_mode(False), torch.no_grad():
            plain = self.plain().to_mkldnn()
            copy: Tensor = _PACK(plain, how["padding"], how["stride"], how["dilation"], how["groups"], list(shape))
            layout = _LAYOUT(copy).numpy().tobytes()
        self._weight = self._by_layout.setdefault(layout, copy)
        return self._weight
