"""The tables that rules are registered in."""

from collections.abc import Callable
from typing import Any

from torch import nn

Rule = Callable[..., Any]

MODULES: dict[type[nn.Module], Rule] = {}
"""Rules by the exact type of a module."""

FUNCTIONS: dict[Any, Rule] = {}
"""Rules by function, or by the name of a tensor's method."""


def for_modules(*types: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Register a rule for modules of exactly these types."""
    return lambda rule: (MODULES.update(dict.fromkeys(types, rule)), rule)[1]


def for_functions(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for these functions, or methods by name."""
    return lambda rule: (FUNCTIONS.update(dict.fromkeys(functions, rule)), rule)[1]
