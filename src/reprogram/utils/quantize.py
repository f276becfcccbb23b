"""The 256 values that a pixel of an 8-bit picture can have: multiples of 1/255."""

import math

import torch
from torch import Tensor

SLACK = 1e-4
"""The part of a level that float32 may lose: a bound of 8/255 holds eight levels although it comes out as 7.99999."""


def nearest_8bit(pixels: Tensor) -> Tensor:
    """The nearest multiples of 1/255, without a gradient.

    Args:
        pixels: of any shape, in [0, 1].
    """
    return (pixels.detach() * 255).round() / 255


def round_to_8bit(pixels: Tensor) -> Tensor:
    """Round pixels to multiples of 1/255; the gradient passes straight through.

    Args:
        pixels: of any shape, in [0, 1].

    Reference: Bengio, Léonard and Courville, Estimating or Propagating Gradients Through Stochastic Neurons, 2013.
    """
    # pixels + (round(255 pixels) / 255 - pixels); the bracket has no gradient.
    return pixels + (nearest_8bit(pixels) - pixels.detach())


def floor_to_8bit(eps: float) -> float:
    """The largest multiple of 1/255 that isn't above a bound.

    Args:
        eps: the bound, in [0, 1] pixel units.
    """
    return math.floor(255 * eps + SLACK) / 255


def eps_bounds(base: Tensor, eps: float, *, whole: bool) -> tuple[Tensor, Tensor]:
    """The lowest and the highest values of pixels that may differ by at most `eps` from given ones.

    Args:
        base: the given pixels, of any shape, in [0, 1].
        eps: the bound, in [0, 1] pixel units.
        whole: whether to shrink the range to multiples of 1/255; pixels stay in it when they are rounded to 8 bits.

    Returns:
        Two tensors of the base's shape; not clipped to [0, 1].
    """
    low, high = base - eps, base + eps
    if whole:
        low, high = (255 * low - SLACK).ceil() / 255, (255 * high + SLACK).floor() / 255
    return low, high


def within(pixels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Pixels clipped to a range.

    Args:
        pixels: of any shape.
        low: the lowest value of each pixel, in the same shape.
        high: the highest value of each pixel, in the same shape.
    """
    return torch.minimum(torch.maximum(pixels, low), high)
