"""Arguments of calls in scripts, which may be anything, held against the function's annotations."""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

from reprogram.errors import ConfigError
from reprogram.utils.messages import EXPECTED, shown
from reprogram.utils.validation import plain

P = ParamSpec("P")
R = TypeVar("R")

UNIONS = (types.UnionType, typing.Union)

WORDS = {
    "int": (EXPECTED["int"], "whole numbers"),
    "float": (EXPECTED["float"], "numbers"),
    "bool": (EXPECTED["bool"], EXPECTED["bool"]),
    "str": ("text", "text"),
    "Path": ("a path", "paths"),
    "Sequence": ("a list", "lists"),
    "Iterable": ("a list", "lists"),
    "Mapping": ("a dict", "dicts"),
}
"""What is expected, one and several, by the name of a type; of other types the name itself is said."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments of the wrong type with one line that names the argument, before the function runs.

    A number of NumPy or PyTorch counts as Python's, a whole number as a number, and true and false as neither.
    Annotations that are text, which name what is imported for type checkers alone, aren't checked.

    Args:
        function: any function or method with annotations.

    Raises:
        ConfigError: by the function that is returned, where an argument has the wrong type.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                values = [value]
            else:
                values = list(value.values() if isinstance(value, dict) else value)
            for one in values:
                if not fits(one, parameter.annotation):
                    raise ConfigError(f"{name}={shown(one)}; {said(parameter.annotation)} is expected")
        return function(*args, **kwargs)

    return call


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotation's type.

    Args:
        value: anything.
        hint: an annotation; one of a kind that isn't known here takes every value.
    """
    kind: Any = typing.get_origin(hint) or hint
    parts = typing.get_args(hint)
    if kind in UNIONS:
        return any(fits(value, part) for part in parts)
    if kind is Literal:  # The function itself says which words it knows.
        return type(value) in map(type, parts)
    if kind is Callable:
        return callable(value)
    if kind in (int, float, bool):
        number = plain(value)
        return isinstance(number, (int, float) if kind is float else kind) and isinstance(number, bool) == (
            kind is bool
        )
    if not isinstance(kind, type) or kind in (Any, inspect.Parameter.empty):
        return True
    if kind in (Iterable, Sequence):
        return _is_list(value, kind, parts)
    return isinstance(value, kind)


def _is_list(value: Any, kind: type, parts: tuple[Any, ...]) -> bool:
    """Whether a value is meant as a list of such items; text isn't meant as one of letters."""
    if isinstance(value, str | bytes):
        return False
    if kind is Sequence and hasattr(value, "tolist"):  # An array.
        value = value.tolist()
    if isinstance(value, Sequence):
        return all(fits(one, part) for part in parts[:1] for one in value)
    # What may be read once only, and what has nothing but `__getitem__`, such as a data set of PyTorch.
    return kind is Iterable and (isinstance(value, Iterable) or hasattr(value, "__getitem__"))


def said(hint: Any, *, several: bool = False) -> str:
    """What an annotation takes, in words.

    Args:
        hint: an annotation.
        several: whether a list of it is meant.
    """
    kind, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in UNIONS:
        return " or ".join(dict.fromkeys(said(part, several=several) for part in parts))
    if kind is Literal:
        return " or ".join(dict.fromkeys(said(type(part), several=several) for part in parts))
    if kind is Callable:
        return "a function"
    if kind is type(None):
        return "None"
    name = getattr(kind, "__name__", str(kind))
    word = WORDS.get(name, (f"a {name}", f"{name}s"))[several]
    return f"{word} of {said(parts[0], several=True)}" if word == "a list" and parts and parts[0] is not Any else word
