"""Specs as text: a component's name, the text after its colon, and its options; data, never code."""

import ast
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from reprogram.errors import ConfigError
from reprogram.utils.files import exists, home

MAX_SPEC_LENGTH = 4096


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A parsed spec.

    Attributes:
        name: the component's name, with hyphens.
        argument: the text after the colon; None where there is no colon.
        options: the values of the options, by name.
    """

    name: str
    argument: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def _evaluated(text: str) -> Any:
    """The value of a Python literal.

    Raises:
        ValueError: the text is none, or a number of so many digits that no message could show it.
    """
    value = ast.literal_eval(text)
    repr(value)
    return value


def _literal(text: str, spec: str) -> Any:
    try:
        return _evaluated(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ConfigError(f"{spec!r}: {text!r} is no Python literal (number, 'text', True, [..], {{..}})") from None


def _split_options(text: str, spec: str) -> dict[str, Any]:
    """Parse `a=1, b='x'`, with literals only."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{spec!r}: can't read the options; write name(key=value, key=value)") from None
    if (
        not isinstance(call, ast.Call)
        or not isinstance(call.func, ast.Name)
        or call.args
        or any(k.arg is None for k in call.keywords)
    ):
        raise ConfigError(f"{spec!r}: options need names; write name(key=value)")
    options = {}
    for keyword in call.keywords:
        assert keyword.arg is not None
        if keyword.arg in options:
            raise ConfigError(f"{spec!r}: option {keyword.arg!r} is given twice")
        try:
            value = ast.unparse(keyword.value)
        except ValueError:
            raise ConfigError(f"{spec[:60]!r}: {keyword.arg} is a number of too many digits") from None
        options[keyword.arg] = _literal(value, spec)
    return options


def _split_query(text: str, spec: str) -> dict[str, Any]:
    """Parse `a=1&b=x`; a value that is no literal is text, and `a=0.5,0.5` is a tuple."""
    options: dict[str, Any] = {}
    for part in text.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"{spec!r}: can't read {part!r}; write ?key=value&key=value")
        if key in options:
            raise ConfigError(f"{spec!r}: option {key!r} is given twice")
        value = unquote(value)
        try:
            options[key] = _evaluated(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            options[key] = value
    return options


def _closing(text: str) -> int:
    """The place where the first bracket of a text is closed again; 0 where it isn't."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return place
    return 0


def parse(text: str) -> Spec:
    """Parse a spec string.

    What follows the colon is a path as a whole where there is such a file or folder, also one called `images?size=8`.
    An argument that is a spec with options of its own goes in brackets: `restricted:(timm:NAME?size=64)?access=label`.
    `~` at the beginning of a value is the home folder.

    Args:
        text: the spec, such as `frame(init=0.1)`, `timm:NAME` or `timm:NAME?pretrained=0`.

    Raises:
        ConfigError: the text is no spec; the message says what can't be read.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{text!r}: is no spec; give text, such as 'frame' or 'frame(init=0.1)'")
    text = text.strip(" \t\r\n")  # Other spaces may be part of a path.
    if len(text) > MAX_SPEC_LENGTH:
        raise ConfigError(f"a spec of {len(text)} characters is too long; {MAX_SPEC_LENGTH} are allowed")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ConfigError(f"{text!r} holds control characters, or bytes that are no Unicode; rename what it names")
    match = re.match(r"[A-Za-z][A-Za-z0-9_-]*", text)
    if not match:
        raise ConfigError(f"{text!r} is no component: a name is expected, such as frame or frame(init=0.1)")
    name, rest = match.group().replace("_", "-"), text[match.end() :]
    argument, options = None, {}
    if rest.startswith(":"):
        argument, rest = (rest[1:], "") if exists(home(rest[1:])) else _split_argument(rest[1:])
    if rest.startswith("?"):
        options = _split_query(rest[1:], text)
    elif rest.startswith("(") and rest.endswith(")"):
        options = _split_options(rest[1:-1], text)
    elif rest:
        raise ConfigError(
            f"{text!r}: can't read {rest!r}; write name, name:argument, name(key=value) or name?key=value"
        )
    options = {key: home(value) for key, value in options.items()}
    return Spec(name=name, argument=home(argument), options=options)


def _split_argument(text: str) -> tuple[str, str]:
    """Split an argument from the options behind it, which begin with `?key=` or are a closing `(key=...)`.

    An argument in brackets ends where they are closed: `(timm:resnet18?size=64)?access=label`.
    """
    if text.startswith("(") and (closed := _closing(text)):
        return text[1:closed], text[closed + 1 :]
    query = re.search(r"\?[A-Za-z_]\w*=", text)
    call = re.search(r"\((?:[A-Za-z_]\w*\s*=.*)?\)$", text)
    starts = [match.start() for match in (query, call) if match]
    end = min(starts, default=len(text))
    return text[:end], text[end:]
