"""Specs, commands and results as they are handed on: without the folders of the machine that made them."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reprogram.errors import ConfigError
from reprogram.registry import FAMILIES, is_listed
from reprogram.utils.spec import Spec, parse

NOT_TOLD = ("out", "data", "runs", "track")
"""The options that say where things lie and who is told, and nothing of the result."""

PATHS = ("config", "resume", "warm-start", "start")
"""The options whose values are paths, and no specs."""

SEPARATOR = re.compile(r"[/\\]|%2f|%5c", re.IGNORECASE)
LIKE_A_SPEC = re.compile(r"\s*[\w-]+[(:]")
HUB_NAME = re.compile(r"hub:[\w.-]+/[\w.-]+(@[\w.-]+)?")
SAFE = ":,/()[]{}.="


def spec_without_folders(text: str) -> str:
    """A spec or a path in which each path is its last part alone.

    Args:
        text: such as `folder:/home/me/images?size=32`, or a path.

    Returns:
        The text, such as `folder:images?size=32`. What has no folders in it, and the Hub's name of a program, stay as
        they are. Of a text that can't be read as a listed spec, what follows the last separator is left.
    """
    if not SEPARATOR.search(text):
        return text
    try:
        spec = parse(text)
        is_spec = any(is_listed(family, spec.name) for family in FAMILIES)
    except ConfigError:
        is_spec = False
    return _rebuilt(text.strip(), spec) if is_spec else _last(text)


def options_without_folders(options: dict[str, Any], *, host: str) -> dict[str, Any]:
    """The options of a run as others are told them.

    Args:
        options: JSON values by name, with underscores.
        host: the id of the run's host, which stands for a spec of it that holds a path or an address.

    Returns:
        The options without those that name places, and with no folders in the others.
    """
    told = {name: _value(value) for name, value in options.items() if name not in NOT_TOLD}
    told |= {name: _last(value) for name, value in told.items() if _is_path(name) and isinstance(value, str)}
    if "host" in options:
        told["host"] = _host(options["host"], host)
    return told


def command_without_folders(command: str, *, host: str = "") -> str:
    """A command as others are told it.

    Args:
        command: the command, as a shell takes it.
        host: the id of the run's host, which stands for a spec of it that holds a path or an address.

    Returns:
        The command without the options that name places, and with no folders in the other ones; empty where a shell
        couldn't read it, or where what looks like a spec with folders can't be read as one.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    told: list[str] = []
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        name = flag.lstrip("-").replace("_", "-")
        if name in NOT_TOLD or name in PATHS:
            # Sweeps once wrote paths without quotes: their words are one value.
            value = " ".join([*([value] if equals else _taken(words, 1)), *_taken(words, _num_values(words))])
            told += [] if name in NOT_TOLD else [f"{flag}={_last(value)}"] if equals else [flag, _last(value)]
        elif name == "host" and (equals or words):
            value = value if equals else words.pop(0)
            if not host and not _is_readable(value):
                return ""
            value = _host(value, host)
            told += [f"{flag}={value}"] if equals else [flag, value]
        elif not _is_readable(value):
            return ""
        else:
            told.append(f"{spec_without_folders(flag)}{equals}{spec_without_folders(value)}")
    return shlex.join(told)


def result_without_folders(result: dict[str, Any]) -> dict[str, Any]:
    """A result as others are told it.

    Args:
        result: as `result.json` holds it, or a part of it; it isn't changed.

    Returns:
        A copy with the command that others are told.
    """
    if "command" not in result:
        return dict(result)
    return result | {"command": command_without_folders(str(result["command"]), host=str(result.get("host", "")))}


def _taken(words: list[str], count: int) -> list[str]:
    """The first words, which are removed from the list."""
    taken, words[:] = words[:count], words[count:]
    return taken


def _num_values(words: Sequence[str]) -> int:
    """How many words there are before the next flag."""
    return next((place for place, word in enumerate(words) if word.startswith("-")), len(words))


def _is_readable(value: Any) -> bool:
    """Whether texts with folders that look like specs are some; of others nobody knows what the folders are part of."""
    if isinstance(value, list | tuple | dict):
        return all(map(_is_readable, value.values() if isinstance(value, dict) else value))
    if not isinstance(value, str) or not SEPARATOR.search(value) or not LIKE_A_SPEC.match(value):
        return True
    try:
        spec = parse(value)
    except ConfigError:
        return False
    return _is_readable([spec.argument, spec.options])


def _is_path(name: str) -> bool:
    return name.replace("_", "-") in PATHS


def _host(spec: str, host: str) -> str:
    """A host's spec; its id where the spec holds a separator: the id's names of the Hub are none of folders."""
    return host if host and SEPARATOR.search(spec) else spec_without_folders(spec)


def _rebuilt(text: str, spec: Spec) -> str:
    """The spec, with each path in its argument and options cut."""
    name = re.match(r"[\w-]*", text)[0]  # type: ignore[index]
    rest, argument, options = text[len(name) :], "", spec.options
    if spec.argument is not None:
        argument = spec_without_folders(spec.argument)
        is_bracketed = rest.startswith(":(") and not spec.argument.startswith("(")
        argument = f":({argument})" if is_bracketed else f":{argument}"
    told = {key: _value(value) for key, value in options.items()}
    if not told:
        return f"{name}{argument}"
    if rest.startswith("("):
        return f"{name}({', '.join(f'{key}={value!r}' for key, value in told.items())})"
    return f"{name}{argument}?" + "&".join(f"{key}={quote(_in_query(value), safe=SAFE)}" for key, value in told.items())


def _in_query(value: Any) -> str:
    """A value as `parse` reads it again behind a question mark."""
    if isinstance(value, str) and parse(f"x?x={quote(value)}").options["x"] == value:
        return value
    return repr(value)


def _value(value: Any) -> Any:
    """An option's value, with each path in it cut."""
    if isinstance(value, str):
        return spec_without_folders(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_value, value))
    return {_value(key): _value(one) for key, one in value.items()} if isinstance(value, dict) else value


def _last(path: str) -> str:
    """The last part of a path; the home folder, whose name is its owner's, is `~`. The Hub's names are no paths."""
    if HUB_NAME.fullmatch(path):
        return path
    if path and Path(path) == Path("~").expanduser():
        return "~"
    parts = [part for part in SEPARATOR.split(path) if part]
    return parts[-1] if parts else path
