"""Text from strangers: class names, paths, headers."""

import re
from typing import Any

MAX_CLASS_NAME = 256
"""Characters of a class's name, at the most."""


def printable(text: object) -> str:
    """Text without control characters: what strangers named can't steer a terminal or break a page."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def slug(text: str) -> str:
    """A piece of a file's or a folder's name: letters, digits and dots, with _ for all between them."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.") or "x"


def printable_all(value: Any) -> Any:
    """The same for every text in a JSON value."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_all(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): printable_all(item) for key, item in value.items()}
    return value
