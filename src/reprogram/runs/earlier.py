"""What configurations of earlier versions mean by what they leave out."""

import contextlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.registry import RENAMED
from reprogram.runs.config import UNWRITTEN, RunConfig, is_written, read_toml

DEFAULTS_0_1: dict[str, Any] = {
    "canvas": "scaled",
    "label_map": "discriminant",
    "loss": "task",
    "batch_size": 16,
    **UNWRITTEN,
}
"""The defaults of version 0.1 that are others now, by today's names."""


def as_written(values: Mapping[str, Any], *, older: bool | None = None) -> dict[str, Any]:
    """The options of a file, completed by the defaults of version 0.1 where the file was written for it.

    Args:
        values: the options' values, by name. Where one of them has a name that only version 0.1 knew, the file means by
            what it leaves out what that version did; a recipe completes it all the same.
        older: whether the file was written for version 0.1, where other values of it say so; None to see by these.
    """
    older = of_version_0_1(values) if older is None else older
    return {**DEFAULTS_0_1, **values} if older and "recipe" not in values else dict(values)


def note_on_0_1(values: Mapping[str, Any], where: str, flags: Mapping[str, Any]) -> str | None:
    """A line on what a file written for version 0.1 means by the options that it leaves out; None for every other file.

    Args:
        values: the options' values, by name, as the file has them.
        where: the file.
        flags: the options that override those of the file, by name.
    """
    changed = {key: value for key, value in DEFAULTS_0_1.items() if key not in values and key not in flags}
    if not changed or "recipe" in values or "recipe" in flags or not of_version_0_1(values):
        return None
    meant = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in changed.items())
    return f"note: {where} has names of version 0.1, and so that version's defaults: {meant}"


def of_version_0_1(values: Mapping[str, Any]) -> bool:
    """Whether options were written for version 0.1, or by it: one of them, or the learner, has a name of that version.

    Args:
        values: the options' values, by name.
    """
    former = {str(f.metadata["former"]) for f in fields(RunConfig) if "former" in f.metadata}
    learner = str(values.get("learner", "")).partition("(")[0].strip()
    return not former.isdisjoint(values) or learner in RENAMED["learners"]


def begun_options(config: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a command means by the options that it leaves out, where an earlier version began its run.

    So the command of then goes on, though some defaults are others now. A batch size that was the default of then is
    taken for what that command means.

    Args:
        config: the configuration in the run's folder, which need not be there.
        values: the options that the command gives, by name.

    Returns:
        Options by name; none where nothing was begun, or the configuration can't be read.
    """
    with contextlib.suppress(ConfigError, OSError):
        if is_written(config):
            begun = read_toml(config)
            older = DEFAULTS_0_1 if of_version_0_1(begun) and "recipe" not in values else {}
            unwritten = {name: begun[name] for name in UNWRITTEN if name in begun}
            usual = {"batch_size": DEFAULTS_0_1["batch_size"]}
            return {**older, **unwritten, **(usual if usual.items() <= begun.items() else {})}
    return {}
