"""Phrases that several error messages share."""

import re
from collections.abc import Mapping, Sequence
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

MOST_NAMES = 20
"""The most known names that a message lists."""


def shown(value: Any) -> str:
    """A value that somebody gave, as its `repr` in one line of at most 60 characters.

    Args:
        value: anything; an array's `repr` has many lines.
    """
    return re.sub(r"\s*\n\s*", " ", repr(value))[:60]


def nearest(name: str, names: "list[str] | tuple[str, ...]") -> str:
    """Advice for a name that isn't there: the closest known name, or the first 20 of them where none is close.

    Capitals don't count.

    Args:
        name: the unknown name.
        names: all known names.
    """
    import difflib

    spelled = {known.casefold(): known for known in names}
    matches = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=0.5)
    if matches:
        return f"did you mean {spelled[matches[0]]!r}?"
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"known: {', '.join(sorted(names)[:MOST_NAMES])}{more}" if names else "none is known"


def path_of(error: Mapping[str, Any]) -> str:
    """The place of one of pydantic's errors: the option, and places in a list.

    Args:
        error: an item of `ValidationError.errors()`; the members of a union, which it names too, are left out.
    """
    return ".".join(str(part) for i, part in enumerate(error["loc"]) if i == 0 or isinstance(part, int))


def expected_instead(errors: Sequence[Mapping[str, Any]]) -> str:
    """A message for the first of pydantic's errors: the value, and what is expected instead.

    Args:
        errors: what `ValidationError.errors()` returns; it has an item for each member of a union.
    """
    members = [error for error in errors if path_of(error) == path_of(errors[0])]
    if len(members) > 1 and all(description(error) for error in members):
        expectations = " or ".join(str(description(error)) for error in members)
        return f"{shown(members[0].get('input'))}; {expectations} is expected"
    return expected(errors[0])


def description(error: Mapping[str, Any]) -> str | None:
    """What one of pydantic's errors expects, as a phrase; None where there is no phrase for it.

    Args:
        error: an item of `ValidationError.errors()`.
    """
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    return next((phrase for prefix, phrase in EXPECTED.items() if error["type"].startswith(prefix)), None)


def expected(error: Mapping[str, Any]) -> str:
    """A message for one of pydantic's errors: the value, and what is expected instead.

    Args:
        error: an item of `ValidationError.errors()`.
    """
    value, phrase = shown(error.get("input")), description(error)
    return f"{value}; {phrase} is expected" if phrase else str(error["msg"]).replace("Input should", f"{value} should")
