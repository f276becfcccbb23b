"""Flags of the command line, made from the fields of a configuration."""

import dataclasses
import types
import typing
from typing import Annotated, Any

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli.console import Whole
from reprogram.registry import FAMILIES
from reprogram.runs.config import SPECS
from reprogram.utils.signature import attribute_docs


def flags_of(config: Any) -> Any:
    """A dataclass whose fields are the options of a configuration, None where a flag isn't given.

    Args:
        config: a dataclass with `option_fields`; its docstrings hold the help of each field. `device` is left out, as
            every verb has it.

    Returns:
        The dataclass, for a parameter that cyclopts spreads over the command line.
    """
    hints, docs = typing.get_type_hints(config), attribute_docs(config)
    fields = []
    for option in config.option_fields():
        if option.name == "device":
            continue
        kind = _kind(hints[option.name])
        parameter: dict[str, Any] = {"help": docs[option.name] + _default(option.default)}
        if (family := {**SPECS, "loss": "losses", "track": "trackers"}.get(option.name, option.name)) in FAMILIES:
            parameter["completer"] = components(family)
        if "former" in option.metadata:
            parameter["name"] = [f"--{name.replace('_', '-')}" for name in (option.name, option.metadata["former"])]
        if kind == list[str]:
            parameter["consume_multiple"] = True
        fields.append((option.name, Annotated[kind | None, Parameter(**parameter)], dataclasses.field(default=None)))
    flags = dataclasses.make_dataclass("Flags", fields, frozen=True, kw_only=True, namespace={"__module__": __name__})
    return Parameter(name="*")(flags)


def _kind(hint: Any) -> Any:
    """The type that the command line reads for a field's type: without None, and `Whole` for whole numbers."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        hint = kinds[0] if len(kinds) == 1 else str  # A number or a word: the configuration reads which.
    return {int: Whole, tuple[str, ...]: list[str]}.get(hint, hint)


def _default(value: Any) -> str:
    """The end of a flag's help: its default, if it has one."""
    if value in (None, ""):
        return ""
    shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    return f" (default: {' '.join(shown) if isinstance(shown, tuple) else shown})"
