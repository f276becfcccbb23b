"""What programs of few numbers share: their checks, and the cosine transform."""

import math

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import Geometry


def cosine_basis(size: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II): row u is √(2 / size) cos(π (2 x + 1) u / (2 size)), row 0 is constant.

    Args:
        size: pixels of a side, and numbers of frequencies.

    Returns:
        size × size; the transform of a column x is `basis @ x`, and `basis.T` is its inverse.
    """
    u, x = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)[None]
    basis = (2 / size) ** 0.5 * (math.pi * (2 * x + 1) * u / (2 * size)).cos()
    basis[0] /= 2**0.5
    rounded: Tensor = basis.to(torch.get_default_dtype())
    return rounded


def check_side(name: str, side: int, geometry: Geometry) -> None:
    """Refuse more numbers along a side than the canvas has pixels.

    Args:
        name: the program's, for errors.
        side: numbers from edge to edge.
        geometry: the canvas and the window's place in it.

    Raises:
        ConfigError: the canvas is smaller.
    """
    if side > min(geometry.height, geometry.width):
        raise ConfigError(
            f"{name}: side={side} on a canvas of {geometry.height} x {geometry.width} pixels; give a smaller one"
        )
