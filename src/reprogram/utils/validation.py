"""Options that become the fields of a dataclass, checked by pydantic, with one-line messages."""

import functools
from typing import Any

from reprogram.errors import ConfigError
from reprogram.utils.messages import expected_instead, path_of


@functools.cache
def _type_adapter(config: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(config)


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
    from pydantic import ValidationError

    for name, value in options.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{component}: {name} has {value.bit_length()} bits; a number of 64 bits is expected")
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
