"""Phrases that several error messages share."""

from collections.abc import Mapping
from typing import Any

EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
}
"""What pydantic expects, by the beginning of its error's name."""


def nearest(name: str, names: "list[str] | tuple[str, ...]") -> str:
    """Advice for a name that isn't there: the closest known name, or up to 20 of them where none is close.

    Args:
        name: the unknown name.
        names: all known names.
    """
    import difflib

    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if matches:
        return f"did you mean {matches[0]!r}?"
    return "known: " + ", ".join(sorted(names)[:20]) if names else "none is known"


def expected(error: Mapping[str, Any]) -> str:
    """A message for one of pydantic's errors: the value, and what is expected instead.

    Args:
        error: an item of `ValidationError.errors()`.
    """
    kind, value = error["type"], repr(error.get("input"))[:60]
    for prefix, description in EXPECTED.items():
        if kind.startswith(prefix):
            return f"{value}; {description} is expected"
    if kind == "literal_error":
        return f"{value}; {error['ctx']['expected']} is expected"
    return str(error["msg"]).replace("Input should", f"{value} should")
