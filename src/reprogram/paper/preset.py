"""Presets: hosts, tasks and recipe from a TOML file, checked for what no experiment would read."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from reprogram.errors import ConfigError, expected, nearest
from reprogram.paper.experiments.base import HostNames, find, names
from reprogram.paper.setup import Setup
from reprogram.runconfig import RunConfig

PRESETS = files("reprogram.paper") / "presets"
OWN = {"host", "seed", "out"}
"""Fields of a run that hosts, tasks and seeds give, not a recipe."""
TABLES = {
    "fit": dict[str, Any],
    "hosts": dict[str, str],
    "tasks": dict[str, dict[str, Any]],
    "experiments": dict[str, dict[str, Any]],
}
COMMON = {"hosts": HostNames, "tasks": Annotated[list[str], "tasks"], "seeds": list[int], "fit": dict[str, Any]}
"""Options of every experiment, beside its own."""


def preset_names() -> list[str]:
    """The presets that come with the project."""
    return sorted(entry.name.removesuffix(".toml") for entry in PRESETS.iterdir() if entry.name.endswith(".toml"))


def read_preset(name: str) -> Setup:
    """A preset by its name, or of a TOML file by its path.

    Raises:
        ConfigError: there is none, or it holds something else.
    """
    path = Path(name) if name.endswith(".toml") else Path(str(PRESETS / f"{name}.toml"))
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no preset {name!r}; {nearest(name, preset_names())}, or give a .toml file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no valid preset ({error})") from None
    for table, content in found.items():
        if table not in TABLES or not isinstance(content, dict):
            raise ConfigError(f"{path}: [{table}] isn't part of a preset; known: {', '.join(sorted(TABLES))}")
        _require(TABLES[table], content, f"{path}: [{table}]")
    recipe, tasks, options = (found.get(table, {}) for table in ("fit", "tasks", "experiments"))
    recipes = {"fit": recipe} | {f"tasks.{task}": values for task, values in tasks.items()}
    for experiment, own in options.items():
        _check_options(f"{path}: [experiments", experiment, own, found)
        recipes[f"experiments.{experiment}.fit"] = own.get("fit", {})
    allowed = {f.name: None for f in fields(RunConfig) if f.name not in OWN}
    for where, values in recipes.items():
        _require_known(values, allowed, f"{path}: [{where}]")
    return Setup(hosts=found.get("hosts", {}), tasks=tasks, recipe=recipe, options=options)


def _check_options(where: str, experiment: str, own: dict[str, Any], preset: dict[str, Any]) -> None:
    """Refuse an experiment or an option that there isn't, a value of the wrong type, a host or task without a spec."""
    if experiment not in names():
        raise ConfigError(f"{where}.{experiment}] is no experiment; {nearest(experiment, names())}")
    where = f"{where}.{experiment}]"
    options = {**COMMON, **find(experiment).options}
    _require_known(own, options, where)
    for key, value in own.items():
        _require(options[key], value, f"{where} {key}")
        for table in getattr(options[key], "__metadata__", ()):
            known = preset.get(table, {}) if key == table else own.get(table, preset.get(table, {}))
            for name in value:
                if name not in known:
                    raise ConfigError(f"{where} {key} names {name!r}; {nearest(name, list(known))}")


def _require_known(values: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f"{where} has no option {key!r}; {nearest(key, sorted(known))}")


def _require(kind: Any, value: Any, where: str) -> None:
    """Refuse a value of another type."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f".{part}" if isinstance(part, str) else f" item {part}" for part in first["loc"])
        raise ConfigError(f"{where}{place}: {expected(first)}") from None
