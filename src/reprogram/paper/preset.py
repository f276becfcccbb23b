"""Presets: hosts, tasks and recipe from a TOML file; what no experiment would read is refused."""

from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from reprogram.errors import ConfigError
from reprogram.paper.experiments.base import HostNames, find, names
from reprogram.paper.plan import ExperimentPlan
from reprogram.runs.config import UNWRITTEN, RunConfig
from reprogram.runs.earlier import DEFAULTS_0_1, of_version_0_1
from reprogram.training.options import current_names
from reprogram.utils.files import exists
from reprogram.utils.messages import expected, nearest
from reprogram.utils.toml import read_table
from reprogram.utils.variants import files_by_name

PRESETS = files("reprogram.paper") / "presets"
PER_RUN = {"host", "seed", "out"}
"""Fields of a run that its host, seed and name determine, so that no recipe may set them."""
TABLES = {
    "fit": dict[str, Any],
    "hosts": dict[str, str],
    "tasks": dict[str, dict[str, Any]],
    "experiments": dict[str, dict[str, Any]],
}
COMMON = {"hosts": HostNames, "tasks": Annotated[list[str], "tasks"], "seeds": list[int], "fit": dict[str, Any]}
"""Options that every experiment has beside its own."""


def preset_names() -> list[str]:
    """The presets that come with the project."""
    return sorted(files_by_name(PRESETS, ".toml"))


def read_preset(name: str) -> ExperimentPlan:
    """Read a preset.

    Args:
        name: the name of a preset that comes with the project, or the path of a TOML file.

    Raises:
        ConfigError: there is no such preset, or its file isn't valid.
    """
    is_file = name.endswith(".toml")
    path = Path(name) if is_file else Path(str(PRESETS / f"{name}.toml"))
    if not is_file and not exists(path):
        raise ConfigError(f"no preset {name!r}, and no .toml file; {nearest(name, preset_names())}")
    content = read_table(path, "give the name of a preset, or a TOML file")
    for table, values in content.items():
        if table not in TABLES or not isinstance(values, dict):
            raise ConfigError(f"{path}: [{table}] isn't part of a preset; known: {', '.join(sorted(TABLES))}")
        _require(TABLES[table], values, f"{path}: [{table}]")
    recipe = current_names(RunConfig, content.get("fit", {}))
    if of_version_0_1(content.get("fit", {})):
        recipe = {**UNWRITTEN, "batch_size": DEFAULTS_0_1["batch_size"], **recipe}
    tasks = {task: current_names(RunConfig, values) for task, values in content.get("tasks", {}).items()}
    options = {name: _with_current_names(values) for name, values in content.get("experiments", {}).items()}
    recipes = {"fit": recipe} | {f"tasks.{task}": values for task, values in tasks.items()}
    for experiment, values in options.items():
        _check_options(f"{path}: [experiments", experiment, values, content)
        recipes[f"experiments.{experiment}.fit"] = values.get("fit", {})
    allowed = {f.name: None for f in fields(RunConfig) if f.name not in PER_RUN}
    for where, values in recipes.items():
        _require_known(values, allowed, f"{path}: [{where}]")
    return ExperimentPlan(hosts=content.get("hosts", {}), tasks=tasks, recipe=recipe, options=options)


def _with_current_names(options: dict[str, Any]) -> dict[str, Any]:
    """The same options of an experiment, with the current names of the fields in its recipe `fit`."""
    fit = options.get("fit")
    return {**options, "fit": current_names(RunConfig, fit)} if isinstance(fit, dict) else options


def _check_options(where: str, experiment: str, values: dict[str, Any], preset: dict[str, Any]) -> None:
    """Refuse an unknown experiment or option, a value of the wrong type, and a host or task without a spec."""
    if experiment not in names():
        raise ConfigError(f"{where}.{experiment}] is no experiment; {nearest(experiment, names())}")
    where = f"{where}.{experiment}]"
    types = {**COMMON, **find(experiment).options}
    _require_known(values, types, where)
    for key, value in values.items():
        _require(types[key], value, f"{where} {key}")
        for table in getattr(types[key], "__metadata__", ()):
            known = preset.get(table, {}) if key == table else values.get(table, preset.get(table, {}))
            for name in value:
                if name not in known:
                    raise ConfigError(f"{where} {key} names {name!r}; {nearest(name, list(known))}")


def _require_known(values: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    """Refuse a key that isn't known."""
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
        item = "".join(f".{part}" if isinstance(part, str) else f" item {part}" for part in first["loc"])
        raise ConfigError(f"{where}{item}: {expected(first)}") from None
