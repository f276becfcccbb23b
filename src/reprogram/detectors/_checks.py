"""What detectors are given: images and answers of the right kind, and enough benign scores for a threshold."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogram.errors import DataError

Array = NDArray[Any]
"""A NumPy array of any type."""

MAX_SIDE = 4096
"""Pixels of the longest side of a query's image."""


def threshold_of(scores: Array, false_positive_rate: float, name: str = "detector", num_new: int = 0) -> float:
    """The k-th largest of n benign scores, k = ⌊rate · (n + 1)⌋.

    Args:
        scores: n numbers.
        false_positive_rate: the share of benign queries that may lie above it.
        name: the detector's, for errors.
        num_new: how many further scores say nothing, for their accounts were new; for errors.

    Raises:
        DataError: there are too few scores.
    """
    rank = math.floor(false_positive_rate * (len(scores) + 1) + 1e-9)
    needed = math.ceil(1 / false_positive_rate) - 1
    if rank < 1 and num_new:
        raise DataError(
            f"{name}: accounts are too short: {num_new:,} benign queries came when too little was known of their "
            f"account, and {len(scores):,} later ones can't set a rate of {false_positive_rate:g}; give more queries "
            f"of each account, at least {needed:,} later ones"
        )
    if rank < 1:
        raise DataError(
            f"{name}: {len(scores):,} scores of benign queries can't set a rate of {false_positive_rate:g}; at least "
            f"{needed:,} are needed, twice as many queries where it learns from them"
        )
    return float(np.sort(scores)[-rank])


def checked_image(image: Any) -> Array:
    """An image as an array.

    Args:
        image: C × H × W, uint8.

    Raises:
        DataError: it isn't.
    """
    try:
        pixels = np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # A ragged list; a tensor with a gradient, or on a GPU.
        raise DataError(f"an image of type {type(image).__name__} can't be read as an array ({error})") from None
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[0] not in (1, 3):
        raise DataError(
            f"an image of shape {tuple(pixels.shape)} and type {pixels.dtype}; C x H x W of uint8 is expected, C 1 or 3"
        )
    if not 1 <= min(pixels.shape[1:]) <= max(pixels.shape[1:]) <= MAX_SIDE:
        raise DataError(f"an image of {pixels.shape[1]} x {pixels.shape[2]} pixels; sides of 1 to {MAX_SIDE} are read")
    return pixels


def checked_answer(answer: Any) -> Array:
    """An answer as a vector of float64.

    Args:
        answer: d finite numbers.

    Raises:
        DataError: they aren't.
    """
    try:
        vector: Array = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # A tensor that needs a gradient.
        raise DataError(
            f"an answer of type {type(answer).__name__}; a vector of numbers, without a gradient, is expected"
        ) from None
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise DataError(f"an answer of shape {vector.shape}; a vector of finite numbers is expected")
    return vector


def checked_answers(answers: Iterable[Any]) -> Array:
    """Answers to learn from, as n × K numbers.

    Args:
        answers: n vectors of K numbers.

    Raises:
        DataError: one is none, or they aren't equally long.
    """
    vectors = [checked_answer(answer) for answer in answers]
    if len(lengths := {len(vector) for vector in vectors}) > 1:
        found = " and ".join(map(str, sorted(lengths)[:3]))
        raise DataError(f"answers of {found} numbers; those of one host, all equally long, are expected")
    return np.stack(vectors)
