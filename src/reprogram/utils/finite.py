"""Scores that aren't finite are refused before anything that hides them is made of them, such as labels."""

from torch import Tensor

from reprogram.errors import DataError


def require_finite(scores: Tensor) -> None:
    """Refuse a host's scores with NaN or infinity.

    Args:
        scores: scores, or the numbers that are shown of them; of any shape.

    Raises:
        DataError: one isn't finite.
    """
    if not scores.isfinite().all():
        raise DataError("the scores hold values that are not finite; check the host's weights")
