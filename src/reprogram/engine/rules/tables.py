"""The tables that rules are registered in."""

from collections.abc import Callable
from typing import Any

from torch import nn

from reprogram.engine.libraries import loaded

Operation = Callable[..., Any]
"""A module, function or method that a host calls."""

Rule = Callable[..., Any]
"""A function that runs an operation on `Framed` maps; `reprogram.engine.rules` describes its arguments."""

MODULES: dict[type[nn.Module], Rule] = {}
"""The rules of modules, by exact type."""

FUNCTIONS: dict[Any, Rule] = {}
"""The rules of functions, and of a tensor's methods by name."""

ELSEWHERE: list[tuple[str, str, Rule]] = []
"""The rules of other libraries: module name, name in it, rule. They are looked up once the library is imported."""


def rule_for(called: Any) -> Rule | None:
    """The rule of an operation.

    Args:
        called: a module's type, a function, or the name of a tensor's method.

    Returns:
        None where there is no rule.
    """
    rule = MODULES.get(called) or FUNCTIONS.get(called)
    return rule or next((other for library, name, other in ELSEWHERE if called in loaded(library, name)), None)


def for_modules(*types: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Register a rule for modules.

    Args:
        types: the exact types of the modules; their subclasses aren't covered.
    """
    return lambda rule: (MODULES.update(dict.fromkeys(types, rule)), rule)[1]


def for_functions(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for functions and methods.

    Args:
        functions: functions, and names of a tensor's methods.
    """
    return lambda rule: (FUNCTIONS.update(dict.fromkeys(functions, rule)), rule)[1]


def for_library(library: str, *names: str) -> Callable[[Rule], Rule]:
    """Register a rule for modules or functions of a library without importing it.

    Args:
        library: the full name of a module.
        names: the names of classes and functions in it.
    """

    def register(rule: Rule) -> Rule:
        ELSEWHERE.extend((library, name, rule) for name in names)
        return rule

    return register
