"""The record of one run, read from its files, whether they are whole or damaged."""

import contextlib
import json
from pathlib import Path
from stat import S_ISREG
from typing import Any

from reprogram.runs.folder import RunFolder
from reprogram.utils.files import exists
from reprogram.utils.lock import owner
from reprogram.utils.toml import parse

MAX_BYTES = 2**24
"""The most bytes that are read of a file."""

TAIL_BYTES = 2**16
"""The bytes at the end of a history in which its last row is looked for."""

Record = dict[str, Any]
"""What is known of one run, by the names that `describe` lists."""


def describe(folder: RunFolder) -> Record:
    """The record of a run; a field whose file is missing or damaged is None or empty.

    Args:
        folder: the run's folder.

    Returns:
        name, state (running, interrupted, finished or failed), began, ended, error, config, images_seen, seconds,
        validation, test, bill, program_worth, top_label and baselines; docs/cli.md says more.
    """
    times, result, last_row = _json(folder.times), _json(folder.result), _last_row(folder.history)
    config = _toml(folder.config).get("fit")
    if isinstance(config, dict):  # What "auto" stood for, so that runs can be compared.
        stood_for = {key: _plain(result[key]) for key in ("loss", "precision", "batch_size") if key in result}
        config |= {key: value for key, value in stood_for.items() if config.get(key) == "auto"}
    error = _text(times.get("error"))
    if exists(folder.result):
        state, error = ("finished", None) if result else ("failed", "result.json is damaged")
    elif times.get("ended"):
        state = "failed" if error else "interrupted"
    else:
        state = "running" if owner(folder.lock) else "interrupted"
    baselines = result.get("baselines")
    validation = result.get("validation", {"accuracy": last_row.get("validation_accuracy")})
    shown, bill = result.get("host_shows"), result.get("bill")
    return {
        "name": folder.path.name,
        "state": state,
        "began": _text(times.get("began")),
        "ended": _text(times.get("ended")),
        "error": error,
        "config": {key: _plain(value) for key, value in config.items()} if isinstance(config, dict) else {},
        "images_seen": _number(result.get("images_seen", last_row.get("images"))),
        "seconds": _number(result.get("seconds", last_row.get("seconds"))),
        "validation": _accuracy(validation),
        "test": _accuracy(result.get("test")),
        "bill": {key: _number(value) for key, value in bill.items()} if isinstance(bill, dict) else {},
        "program_worth": _measured(result.get("program_worth"), "difference"),
        "top_label": _accuracy(shown.get("top_label")) if isinstance(shown, dict) else None,
        "baselines": {str(k): _accuracy(v) for k, v in baselines.items()} if isinstance(baselines, dict) else {},
    }


def _accuracy(value: Any) -> Record | None:
    return _measured(value, "accuracy")


def _measured(value: Any, key: str) -> Record | None:
    """The number with this key, n and interval of a JSON value; None where it has no such number."""
    if not isinstance(value, dict) or _number(value.get(key)) is None:
        return None
    interval = value.get("interval")
    is_pair = isinstance(interval, list) and len(interval) == 2 and None not in map(_number, interval)
    return {key: value[key], "n": _number(value.get("n")), "interval": interval if is_pair else None}


def _plain(value: Any) -> Any:
    """A value of a TOML file as a JSON value: dates and tables become text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str) or _number(value) is not None else str(value)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and abs(value) < float("inf") else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _json(path: Path) -> Record:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(read_part(path, MAX_BYTES))
        if isinstance(value, dict):
            return value
    return {}


def _toml(path: Path) -> Record:
    with contextlib.suppress(ValueError):
        return parse(read_part(path, MAX_BYTES).decode("utf-8-sig"))
    return {}


def _last_row(history: Path) -> Record:
    """The last whole row of a history; empty where there is none."""
    for line in reversed(read_part(history, TAIL_BYTES, tail=True).splitlines()):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                return row
    return {}


def read_history(path: Path) -> list[dict[str, float]]:
    """The validations in a history; lines that are damaged are left out.

    Args:
        path: a run's `history.jsonl`.
    """
    rows = []
    for line in read_part(path, MAX_BYTES).splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and not {"images", "loss", "validation_accuracy"} - row.keys():
                rows.append({key: value for key, value in row.items() if _number(value) is not None})
    return [row for row in rows if not {"images", "loss", "validation_accuracy"} - row.keys()]


def read_part(path: Path, limit: int, tail: bool = False) -> bytes:
    """The first or last bytes of an ordinary file; none where there is no such file.

    Args:
        path: the file.
        limit: the most bytes to read.
        tail: whether to read the last bytes rather than the first.
    """
    with contextlib.suppress(OSError):
        if S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                if tail:
                    file.seek(max(0, path.stat().st_size - limit))
                return file.read(limit)
    return b""
