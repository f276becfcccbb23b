"""What several formats share in reading a response: numbers and labels out of JSON, with one line on what is wrong."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reprogram.hosts._json_path import JsonPath, kind_of
from reprogram.hosts._vocabulary import Answer, Pairs
from reprogram.hosts._wire import GarbledError, WrongAnswerError


def number(value: Any) -> float:
    """A number of an answer.

    Args:
        value: a JSON value.

    Raises:
        WrongAnswerError: it is none; NaN and infinity are numbers here, and refused later.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongAnswerError(f"answers with {kind_of(value)} where a number is expected")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def vector(values: Any) -> np.ndarray:
    """The numbers of all labels.

    Args:
        values: a JSON list of numbers.

    Returns:
        K numbers, float64.

    Raises:
        WrongAnswerError: it is no such list.
    """
    try:
        numbers = _numbers(values)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros((0, 0))
    if not isinstance(values, list) or numbers.ndim != 1:
        raise WrongAnswerError(f"answers with {kind_of(values)} where a list of numbers is expected")
    return numbers


def pairs_of(labels: Any, numbers: Any = None) -> Pairs:
    """Labels with their numbers.

    Args:
        labels: a list of names or indices, or one of them.
        numbers: a list of as many numbers, or one; None for labels without numbers.

    Raises:
        WrongAnswerError: they aren't such lists, or not of one length.
    """
    listed = labels if isinstance(labels, list) else [labels]
    values = [None] * len(listed) if numbers is None else numbers if isinstance(numbers, list) else [numbers]
    if len(listed) != len(values):
        raise WrongAnswerError(f"answers with {len(listed)} labels and {len(values)} numbers")
    for label in listed:
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise WrongAnswerError(f"answers with {kind_of(label)} where a label is expected")
    return [(label, None if value is None else number(value)) for label, value in zip(listed, values, strict=True)]


def items(document: Any, path: str) -> list[Any]:
    """The list in a response that holds one item for each of something.

    Args:
        document: the response's JSON value.
        path: where the list lies.

    Raises:
        WrongAnswerError: no list lies there.
    """
    found = at(document, JsonPath(path))
    if not isinstance(found, list):
        raise WrongAnswerError(f"answers with {kind_of(found)} at {path!r} where a list is expected")
    return found


def at(document: Any, path: JsonPath) -> Any:
    """What lies at a path of a response.

    Args:
        document: the response's JSON value.
        path: the place.

    Raises:
        WrongAnswerError: nothing lies there.
    """
    try:
        return path.get(document)
    except LookupError as error:
        raise WrongAnswerError(f"answers in another shape: {error}") from None


def declared(value: Any, labels: str, numbers: str) -> Answer:
    """An image's answer, where its user says where labels and numbers lie.

    Args:
        value: the JSON value of the image's answer.
        labels: path of a label or a list of them; empty where there are none.
        numbers: path of a number, a list of them, or an object of numbers by label; empty where there are none.

    Raises:
        WrongAnswerError: nothing of that kind lies there.
    """
    if labels:
        return pairs_of(at(value, JsonPath(labels)), at(value, JsonPath(numbers)) if numbers else None)
    found = at(value, JsonPath(numbers))
    return pairs_of(list(found), list(found.values())) if isinstance(found, dict) else vector(found)


def tensor(data: Any, shape: Sequence[int]) -> np.ndarray:
    """A tensor that JSON holds as a flat or as a nested list.

    Args:
        data: the list.
        shape: of the tensor.

    Returns:
        float64 numbers of that shape.

    Raises:
        GarbledError: the list has other numbers than the shape says.
    """
    try:
        numbers = _numbers(data)
        return numbers.reshape([*map(int, shape)])
    except (TypeError, ValueError, OverflowError):
        raise GarbledError(f"answers with {kind_of(data)} where a tensor of {str([*shape])[:40]} is expected") from None


def _numbers(data: Any) -> np.ndarray:
    """Lists of numbers, null for NaN; a `TypeError` for texts and truth values, which NumPy would take for numbers."""
    found = np.array(data, dtype=object)
    if any(isinstance(value, str | bool) for value in found.reshape(-1).tolist()):
        raise TypeError
    return found.astype(np.float64)
