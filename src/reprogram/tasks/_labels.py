"""The labels of datasets, as class indices, and the names of the classes."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reprogram.errors import DataError
from reprogram.tasks._split import MAX_CLASSES
from reprogram.utils.text import printable, shortened

LABEL_KEYS = ("label", "labels", "fine_label", "target", "class")


def to_label(label: Any, where: str) -> int | str:
    """A label as a class index, or as text, which names its class.

    Args:
        label: a whole number of any type, also in an array or tensor of one value; or text.
        where: the item, for errors.

    Raises:
        DataError: it is of another kind, or out of range.
    """
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.item()
    if isinstance(label, str):
        return str(label)
    try:
        number = int(label) if isinstance(label, np.bool_) else operator.index(label)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        raise DataError(
            f"{where}: the label {printable(label)[:40]!r} is no class index; give whole numbers from 0, or names"
        ) from None
    if not 0 <= number < MAX_CLASSES:
        raise DataError(
            f"{where} has the label {str(number)[:40]}; labels are class indices from 0, at most {MAX_CLASSES - 1}"
        )
    return number


def numbered(
    labels: Mapping[str, Sequence[int | str]], datasets: Mapping[str, Any], given: Any
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Labels as class indices, and the names of the classes in the order of their indices.

    Args:
        labels: as `to_label` gives them, by split.
        datasets: the datasets that they are from, by split.
        given: a sequence of names, or a mapping between names and indices; None for the datasets' own, see `own_names`,
            or, where they have none, the labels themselves as text, in the order of the alphabet if they are names.

    Returns:
        n class indices, int64, by split; and the names.

    Raises:
        DataError: names and numbers are mixed, a label is a name that isn't among the classes, the given names are of
            no such kind, or the datasets' own names differ.
    """
    names = _ordered(given, "class_names") if given is not None else own_names(datasets)
    as_text = {label for listed in labels.values() for label in listed if isinstance(label, str)}
    if not as_text:
        indices = {where: torch.tensor(listed, dtype=torch.int64) for where, listed in labels.items()}
        return indices, _numbers(list(indices.values())) if names is None else names
    names = tuple(sorted(as_text)) if names is None else names
    index_of = {name: index for index, name in enumerate(names)}
    for where, listed in labels.items():
        for item, label in enumerate(listed):
            if label not in index_of:
                what = "a number, and other labels are names" if isinstance(label, int) else "no name of a class"
                raise DataError(
                    f"{where} item {item}: the label {printable(label)[:40]!r} is {what} ({shortened(names)}); "
                    "make all labels names of classes, or class indices"
                )
    indices = {
        where: torch.tensor([index_of[str(label)] for label in listed], dtype=torch.int64)
        for where, listed in labels.items()
    }
    return indices, names


def _numbers(labels: list[Tensor]) -> tuple[str, ...]:
    """The numbers from 0 to the largest label as the classes' names."""
    count = 1 + int(max(int(part.max()) for part in labels))
    if count > sum(map(len, labels)):
        raise DataError(
            f"the largest label is {count - 1}, and there are fewer images than classes from 0 to it; "
            "give class indices without gaps, or class_names"
        )
    return tuple(map(str, range(count)))


def own_names(datasets: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names that datasets have for their classes, in the order of their indices; the training dataset's, if any.

    Args:
        datasets: the datasets by split; a subset has the names of its whole, a concatenation those of its parts.

    Raises:
        DataError: two of them have different names for one index, so that their labels don't mean the same.
    """
    first: tuple[str, tuple[str, ...]] | None = None
    for where, dataset in datasets.items():
        for names in _names_in(dataset):
            first = first or (where, names)
            if any(mine != other for mine, other in zip(names, first[1], strict=False)):
                raise DataError(
                    f"{where}: its classes are {shortened(names)}, those of {first[0]} {shortened(first[1])}, so one "
                    "label means two classes; number them alike, or give class_names if they are the same"
                )
    return first[1] if first else None


def _names_in(dataset: Any, depth: int = 8) -> Iterator[tuple[str, ...]]:
    """The names of a dataset's classes: its attribute `classes`, those in its features, or those of its parts."""
    own = getattr(dataset, "classes", None)
    if isinstance(own, list | tuple | Mapping | np.ndarray) and len(own):
        yield _ordered(own, "the dataset's attribute classes")
        return
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        key = next((key for key in LABEL_KEYS if key in features), None)
        names = getattr(features[key], "names", None) if key else None
        if isinstance(names, list | tuple) and names:
            yield _ordered(names, "the dataset's features")
            return
    parts = getattr(dataset, "datasets", None)
    parts = list(parts) if isinstance(parts, list | tuple) else [getattr(dataset, "dataset", None)]
    for part in parts:
        if part is not None and depth:  # A subset of a subset and so on.
            yield from _names_in(part, depth - 1)


def _ordered(names: Any, where: str) -> tuple[str, ...]:
    """The names of a sequence or a mapping, in the order of their indices."""
    if isinstance(names, Mapping):
        by_index = names if all(isinstance(key, int | np.integer) for key in names) else _swapped(names, where)
        if sorted(by_index) != list(range(len(by_index))):
            raise DataError(f"{where}: a mapping between names and indices, which must be 0 to {len(names) - 1}")
        names = [by_index[index] for index in range(len(by_index))]
    if isinstance(names, list | tuple) and not names:
        raise DataError(f"{where}: no names; give one for each class, or none at all")
    if isinstance(names, str | bytes | set | frozenset) or not hasattr(names, "__iter__"):
        raise DataError(f"{where}: a {type(names).__name__} can't say which index has which name; give a list of names")
    return tuple(map(str, names))


def _swapped(names: Mapping[Any, Any], where: str) -> dict[int, Any]:
    try:
        swapped = {operator.index(index): name for name, index in names.items()}
    except TypeError:
        raise DataError(
            f"{where}: a mapping between names and whole numbers is expected; give a list of names"
        ) from None
    if len(swapped) != len(names):
        raise DataError(f"{where}: two names have one index; give each its own")
    return swapped
