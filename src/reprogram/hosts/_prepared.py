"""A host's modules ready to run, one for each type that it computes in, and the choice of that type."""

import threading
from typing import Any

import torch
from torch import Tensor, nn

from reprogram.engine.precision import fast_dtypes
from reprogram.engine.prepared import Prepared
from reprogram.errors import ConfigError
from reprogram.framed import Framed
from reprogram.types import Precision
from reprogram.utils.tensor_cache import ModuleVersion

PREPARING = threading.RLock()
"""Tracing changes `nn.Module` for the whole process: one host at a time."""

GRADIENT_SCALE = 1024.0
"""The factor of gradients inside a host that computes in float16, whose smallest positive number is 6e-8."""


class PreparedModules:
    """The prepared modules of a host by their type, prepared anew when weights change. A copy of it is empty.

    Args:
        as_is: whether the module runs as it is, untraced.
    """

    def __init__(self, as_is: bool = False) -> None:
        self.as_is = as_is
        self._by_dtype: dict[torch.dtype, tuple[ModuleVersion, Prepared]] = {}

    def __reduce__(self) -> Any:
        return PreparedModules, (self.as_is,)

    def get(self, net: nn.Module, dtype: torch.dtype, own: torch.dtype) -> Prepared:
        """The module that runs: equal to `net` up to the type's rounding, and faster.

        Args:
            net: the host's module, in evaluation mode.
            dtype: the type to compute in.
            own: the type of the module's weights.
        """
        with PREPARING, torch.inference_mode(False):
            version, prepared = self._by_dtype.get(dtype, (None, None))
            if version is None or prepared is None or not version.fits(net):
                version, prepared = ModuleVersion(net), Prepared(net, None if dtype == own else dtype, self.as_is)
                self._by_dtype[dtype] = version, prepared
            return prepared

    def clear(self) -> None:
        """Forget all of them."""
        self._by_dtype.clear()


def resolve(precision: Precision, device: torch.device) -> torch.dtype:
    """The type that a precision stands for on a device.

    Args:
        precision: its name; "auto" is the half precision that the device multiplies in hardware, else float32.
        device: what the host computes on.

    Raises:
        ConfigError: no such precision.
    """
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision == "auto":
        return next(iter(fast_dtypes(device)), torch.float32)
    if precision not in names:
        raise ConfigError(f"no precision {precision!r}; known: {', '.join(names)}, auto")
    return names[precision]


def compute_dtype(
    net: nn.Module, precision: Precision, own: torch.dtype, device: torch.device, name: str
) -> torch.dtype:
    """The type that a host computes in: its weights' own for "float32", so that a host in float64 stays in float64.

    Args:
        net: the host's module.
        precision: the host's.
        own: the type of the module's weights.
        device: what the host computes on.
        name: the host's, for errors.

    Raises:
        ConfigError: half precision is asked of a host without weights to convert.
    """
    if precision == "float32":
        return own
    has_weights = any(p.is_floating_point() for p in net.parameters())
    if precision == "auto":
        # Weights in float64 are there to be exact.
        return resolve(precision, device) if has_weights and own == torch.float32 else own
    chosen = resolve(precision, device)
    if not has_weights:
        raise ConfigError(f"host {name}: it has no weights that could be {precision}; use float32")
    return chosen


def into_host(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Normalised pixels in the type that the host computes in; for float16 their gradient is scaled back.

    Args:
        part: pixels of any shape, normalised.
        dtype: the type that the host computes in.
    """
    scaled = _Scale.apply(part, 1 / GRADIENT_SCALE) if _is_scaled(part, dtype) else part
    return scaled.to(dtype)


def out_of_host(scores: Tensor, dtype: torch.dtype, images: Tensor | Framed) -> Tensor:
    """The host's scores in the type of its weights; for float16 the gradient that enters the host is scaled.

    Args:
        scores: b × K, in the type that the host computes in, or in a wider one.
        dtype: the type of its weights.
        images: what the host computed them from.
    """
    converted = scores.to(dtype)
    computed_in = images.window.dtype if isinstance(images, Framed) else images.dtype
    return _Scale.apply(converted, GRADIENT_SCALE) if _is_scaled(converted, computed_in) else converted


def _is_scaled(tensor: Tensor, dtype: torch.dtype) -> bool:
    return dtype == torch.float16 and tensor.requires_grad and torch.is_grad_enabled()


class _Scale(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a power of two: nothing is rounded."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        """Pass the values through."""
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Scale the gradient."""
        return gradients[0] * ctx.factor, None
