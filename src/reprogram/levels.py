"""The 256 values that a pixel of an 8-bit picture can have: multiples of 1/255."""

import math

import torch
from torch import Tensor

SLACK = 1e-4
"""Of a level: what float32 loses. A bound of 8/255 holds eight levels although it comes out as 7.99999 of them."""


def round_to_8bit(pixels: Tensor) -> Tensor:
    """Round to multiples of 1/255; the gradient passes straight through."""
    return pixels + ((pixels.detach() * 255).round() / 255 - pixels.detach())


def whole_levels(eps: float) -> float:
    """The largest multiple of 1/255 that isn't above a bound."""
    return math.floor(255 * eps + SLACK) / 255


def reach(base: Tensor, eps: float, *, whole: bool) -> tuple[Tensor, Tensor]:
    """The lowest and the highest pixel at most `eps` away.

    Args:
        base: pixels.
        eps: in [0, 1] pixel units.
        whole: both are multiples of 1/255, so that what lies between stays between when it is rounded to 8 bits.

    Returns:
        Two tensors of the base's shape; not clipped to [0, 1].
    """
    low, high = base - eps, base + eps
    if whole:
        low, high = (255 * low - SLACK).ceil() / 255, (255 * high + SLACK).floor() / 255
    return low, high


def within(pixels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Pixels clipped to a range."""
    return torch.minimum(torch.maximum(pixels, low), high)
