"""TOML files that people write: whatever is wrong with one is an error of one line."""

import codecs
import tomllib
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError

MAX_BYTES = 2**24
"""The most bytes of a file."""

LIMIT = 2**63
"""Whole numbers are at least -LIMIT and less than LIMIT, as TOML has it."""


def read_table(path: Path, what: str = "give a TOML file") -> dict[str, Any]:
    """The content of a TOML file, which may begin with a byte order mark.

    Args:
        path: the file.
        what: what to give instead of a file that can't be read, for the message.

    Returns:
        The values by their keys.

    Raises:
        ConfigError: the file is missing, too large, not text in UTF-8, no valid TOML, or holds a number of more than
            64 bits.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error}); {what}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES:,} bytes; {what}")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # What > writes in older PowerShells.
        raise ConfigError(f"{path}: is text in UTF-16, and TOML is UTF-8; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except ValueError as error:
        raise ConfigError(f"{path}: is no text in UTF-8 ({error}); {what}") from None
    try:
        table = parse(text)
    except ValueError as error:
        raise ConfigError(f"{path}: no valid TOML ({error})") from None
    return table


def parse(text: str) -> dict[str, Any]:
    """The content of a TOML text.

    Args:
        text: the text of the file.

    Raises:
        ValueError: the text isn't valid, is nested too deeply, or holds a number of more than 64 bits.
    """
    try:
        table = tomllib.loads(text)
        _require_64_bits(table)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return table


def _require_64_bits(value: Any) -> None:
    """Refuse a whole number that TOML has no room for, at any depth."""
    if isinstance(value, int) and not -LIMIT <= value < LIMIT:
        raise ValueError("a whole number of more than 64 bits")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _require_64_bits(item)
