"""Functions whose keywords are the fields of a dataclass: they are defined and documented there alone."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_options(options: type[Any]) -> Callable[[Function], Function]:
    """Give a function with `**changes` the signature and the documentation of a dataclass's fields.

    A line `{options}` in the function's docstring is replaced by a line for each field. The function itself
    refuses a keyword that is no field.

    Args:
        options: a dataclass whose docstring has a section `Attributes`.

    Returns:
        A decorator.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        fields = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in dataclasses.fields(options)
        ]
        others = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__signature__ = signature.replace(parameters=[*others, *fields])  # type: ignore[attr-defined]
        indent = " " * 8
        lines = [
            textwrap.fill(f"{name}: {text}", 120, initial_indent=indent, subsequent_indent=f"{indent}    ")
            for name, text in attribute_docs(options).items()
        ]
        function.__doc__ = (function.__doc__ or "").replace(f"{indent}{{options}}", "\n".join(lines))
        return function

    return decorate


def attribute_docs(cls: type[Any]) -> dict[str, str]:
    """The descriptions of a class's attributes, from the `Attributes` sections of its docstring and of its bases'.

    Args:
        cls: a class with docstrings in Google style.

    Returns:
        A line of text for each attribute, by name; those of the bases come first.
    """
    descriptions: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)+)", inspect.cleandoc(base.__doc__ or ""), re.M)
        for name, text in re.findall(r"^ {4}(\w+): ((?:.*\n?)(?:^ {8}.*\n?)*)", section[1] if section else "", re.M):
            descriptions[name] = " ".join(text.split())
    return descriptions
