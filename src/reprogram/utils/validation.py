"""Options that become the fields of a dataclass, checked by pydantic, with one-line messages."""

import contextlib
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from reprogram.errors import ConfigError
from reprogram.utils.messages import EXPECTED, expected_instead, nearest, path_of, shown


@functools.cache
def _type_adapter(config: type[Any]) -> Any:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(config)
    adapter.rebuild(raise_errors=True)
    return adapter


@functools.cache
def _kinds(config: Any) -> dict[str, tuple[Any, ...]]:
    """The types that each field of a dataclass takes, by the field's name."""
    unions = (types.UnionType, typing.Union)
    hints = typing.get_type_hints(config)
    return {name: typing.get_args(h) if typing.get_origin(h) in unions else (h,) for name, h in hints.items()}


def wrong_kind(config: Any, values: Mapping[str, Any], *, text_counts: bool = False) -> str | None:
    """What is wrong with the first value that pydantic would turn into another kind: true into 1, or "1" into 1.

    Args:
        config: the dataclass whose fields the values are for.
        values: the values, by field; names of no field are passed over.
        text_counts: whether text may stand for a number, and 0 and 1 for false and true, as in a spec.

    Returns:
        The field, its value and what is expected; None where every value has its kind.
    """
    for name, value in values.items():
        kinds = _kinds(config).get(name, ())
        numbers = [kind for kind in (int, float, bool) if kind in kinds]
        takes_text = not numbers or any(kind is str or typing.get_origin(kind) is typing.Literal for kind in kinds)
        if (
            (isinstance(value, bool) and numbers and bool not in kinds)
            or (
                isinstance(value, int | float) and not isinstance(value, bool) and numbers == [bool] and not text_counts
            )
            or (isinstance(value, str) and not takes_text and not text_counts)
        ):
            return f"{name}={shown(value)}; {' or '.join(EXPECTED[kind.__name__] for kind in numbers)} is expected"
    return None


def given_by_script(config: Any, values: Mapping[str, Any], *, component: str) -> Any:
    """Options of a call in a script, whose names and values may be anything.

    Args:
        config: the dataclass whose fields are the options.
        values: by name; a number of NumPy or PyTorch counts as Python's.
        component: what is called, for the message.

    Returns:
        An instance of the dataclass.

    Raises:
        ConfigError: an option is unknown, or a value has the wrong type or range; names it.
    """
    known = [field.name for field in dataclasses.fields(config)]
    if unknown := [name for name in values if name not in known]:
        raise ConfigError(f"{component}: no option {unknown[0]!r}; {nearest(unknown[0], known)}")
    values = {name: plain(value) for name, value in values.items()}
    if (wrong := wrong_kind(config, values)) is not None:
        raise ConfigError(f"{component}: {wrong}")
    return validate(config, values, component=component)


def plain(value: Any) -> Any:
    """A number of NumPy or PyTorch as Python's; any other value as it is.

    Args:
        value: an option's.
    """
    with contextlib.suppress(AttributeError, TypeError, ValueError, RuntimeError):  # Several numbers stay as they are.
        return value.item()
    return value


def validate(config: Any, options: dict[str, Any], *, component: str, strict: bool = False) -> Any:
    """Build a component's configuration from options whose names are known.

    Args:
        config: the dataclass of the configuration; its `__post_init__` checks ranges.
        options: the values of the fields, by name.
        component: the component's name, for the message.
        strict: whether values must have exactly the right JSON types; no text becomes a number.

    Returns:
        An instance of the dataclass.

    Raises:
        ConfigError: an option is missing, or its value has the wrong type or range; names it.
    """
    from pydantic import PydanticUserError, ValidationError

    try:
        _kinds(config)
        _type_adapter(config)
    except (PydanticUserError, NameError, TypeError) as error:  # An author's own dataclass may say anything.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigError(
            f"{component}: {config.__module__}.{config.__qualname__}: {reason}; mend its types"
        ) from error
    for name, value in options.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{component}: {name} has {value.bit_length()} bits; a number of 64 bits is expected")
    if (wrong := wrong_kind(config, options, text_counts=True)) is not None:
        raise ConfigError(f"{component}: {wrong}")
    try:
        if strict:
            import json

            return _type_adapter(config).validate_json(json.dumps(options), strict=True)
        return _type_adapter(config).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # Raised by the configuration itself.
            raise ConfigError(f"{component}: {first['ctx']['error']}") from None
        if first["type"] == "missing" and len(first["loc"]) == 1:
            option = first["loc"][0]
            raise ConfigError(f"{component}: option {option} is missing; write {component}({option}=...)") from None
        where = path_of(first)
        raise ConfigError(f"{component}: {where}{'=' if where else ''}{expected_instead(error.errors())}") from None


def without_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, none of which occurs twice.

    Args:
        names: any names.

    Raises:
        ValueError: one does.
    """
    if len(set(names)) != len(names):
        raise ValueError("a class name occurs twice")
    return names
