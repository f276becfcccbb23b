"""oneDNN's convolution and product with two options that PyTorch hides: clipping in the same pass, packed filters.

oneDNN uses the processor's whole vector width, also where the BLAS of PyTorch's matrix products doesn't: on AMD's
processors MKL computes with half of it. It multiplies bfloat16 in tiles (AMX) or by AVX-512, where the processor can.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reprogram.engine.precision import fast_dtypes

Pair = tuple[int, int]

_CORRELATE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_LAYOUT = getattr(torch.ops.mkldnn, "_get_mkldnn_serialized_md", None)
_PACK = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)
_PRODUCT = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_PACK_ROWS = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)


def runs(images: Tensor) -> bool:
    """Whether oneDNN can convolve this input fast: in float32, or in a half precision that is faster.

    Args:
        images: b × c × h × w, or any other shape.
    """
    return (
        _CORRELATE is not None
        and images.device.type == "cpu"
        and (images.dtype == torch.float32 or images.dtype in fast_dtypes(images.device))
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
        weight: o × c / groups × kh × kw, plain or packed by `Filters`.
        bias: o values, or None.
        padding: zeros above and below, and on the left and right, in pixels.
        stride: the step down and across, in pixels.
        dilation: the distance of filter taps, down and across, in pixels.
        groups: number of groups of channels.
        limits: lowest and highest value of the output; empty where it isn't clipped.

    Returns:
        b × o × h2 × w2.
    """
    assert _CORRELATE is not None
    output: Tensor = _CORRELATE(images, weight, bias, padding, stride, dilation, groups, *_clipping(limits))
    return output


def multiplies() -> bool:
    """Whether this version of PyTorch has `multiply`."""
    return _PRODUCT is not None


def multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None, limits: Sequence[float] = ()) -> Tensor:
    """Multiply rows by filters, outside of autograd.

    Args:
        rows: n × c.
        weight: o × c, plain or packed by `pack_rows`.
        bias: o values, or None.
        limits: lowest and highest value of the output; empty where it isn't clipped.

    Returns:
        n × o.
    """
    assert _PRODUCT is not None
    output: Tensor = _PRODUCT(rows, weight, bias, *_clipping(limits))
    return output


def pack_rows(weight: Tensor) -> Tensor:
    """Filters of `multiply` packed in the layout that oneDNN reads for 16 rows and more.

    Args:
        weight: o × c.

    Returns:
        A packed copy; the weight itself where PyTorch can't pack it.
    """
    if _PACK_ROWS is None:
        return weight
    with torch.inference_mode(False), torch.no_grad():
        packed: Tensor = _PACK_ROWS(weight)
    return packed


def _clipping(limits: Sequence[float]) -> tuple[str, list[float], str]:
    """The name of a clip in oneDNN, its numbers, and the algorithm, of which a clip has none."""
    if not limits:
        return "none", [], ""
    return ("relu", [], "") if tuple(limits) == (0.0, float("inf")) else ("hardtanh", list(limits), "")


class Filters:
    """Filters packed in the memory layout that oneDNN reads, so that it needn't pack them in each call.

    The layout depends on the input's shape. Filters in the layout of another input are slower than plain ones: oneDNN
    repacks them in each call, which has taken up to 300 times as long as the convolution. Inputs with the same layout
    share a copy.

    Args:
        weight: o × c / groups × kh × kw. It isn't kept once there is a packed copy.
        options: `padding`, `stride`, `dilation` and `groups` of the convolution.
    """

    def __init__(self, weight: Tensor, **options: Any) -> None:
        self._weight = weight
        self._movement = {"padding": (0, 0), "stride": (1, 1), "dilation": (1, 1), "groups": 1, **options}
        self._by_layout: dict[bytes, Tensor] = {}
        self._by_shape: dict[tuple[int, ...], Tensor] = {}

    def plain(self) -> Tensor:
        """The filters in an ordinary tensor."""
        return self._weight.to_dense() if self._weight.is_mkldnn else self._weight

    def for_input(self, images: Tensor) -> Tensor:
        """The filters packed for inputs of one shape.

        Args:
            images: b × c × h × w; only the shape matters.
        """
        shape = tuple(images.shape)
        if shape not in self._by_shape:
            self._by_shape[shape] = self._copy(shape)
        return self._by_shape[shape]

    def _copy(self, shape: tuple[int, ...]) -> Tensor:
        if _PACK is None or _LAYOUT is None:
            return self.plain()
        options = self._movement
        with torch.inference_mode(False), torch.no_grad():
            plain = self.plain().to_mkldnn()
            copy: Tensor = _PACK(
                plain, options["padding"], options["stride"], options["dilation"], options["groups"], list(shape)
            )
            layout = _LAYOUT(copy).numpy().tobytes()
        self._weight = self._by_layout.setdefault(layout, copy)
        return self._weight
