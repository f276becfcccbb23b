"""The tables that rules are registered in."""

from collections.abc import Callable
from typing import Any

from torch import nn

from reprogram.engine.libraries import loaded

Rule = Callable[..., Any]

MODULES: dict[type[nn.Module], Rule] = {}
"""Rules by the exact type of a module."""

FUNCTIONS: dict[Any, Rule] = {}
"""Rules by function, or by the name of a tensor's method."""

ELSEWHERE: list[tuple[str, str, Rule]] = []
"""Rules by library and name, for what is only there once the library is imported."""


def rule_for(called: Any) -> Rule | None:
    """The rule of a module's type, of a function, or of a method by name; None where there is none."""
    known = MODULES.get(called) or FUNCTIONS.get(called)
    return known or next((rule for library, name, rule in ELSEWHERE if called in loaded(library, name)), None)


def for_modules(*types: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Register a rule for modules of exactly these types."""
    return lambda rule: (MODULES.update(dict.fromkeys(types, rule)), rule)[1]


def for_functions(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for these functions, or methods by name."""
    return lambda rule: (FUNCTIONS.update(dict.fromkeys(functions, rule)), rule)[1]


def for_library(library: str, *names: str) -> Callable[[Rule], Rule]:
    """Register a rule for modules or functions of a library that need not be imported for it."""

    def register(rule: Rule) -> Rule:
        ELSEWHERE.extend((library, name, rule) for name in names)
        return rule

    return register
