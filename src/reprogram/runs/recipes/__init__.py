"""Recipes: how a program is learned, as published or as it works best here. One TOML file each.

A recipe sets all options but host, task, seed and budget. An option that is given beside a recipe counts more.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from reprogram.errors import ConfigError
from reprogram.registry import stored_spelling
from reprogram.utils.messages import nearest
from reprogram.utils.variants import files_by_name

FOLDER = files("reprogram.runs.recipes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The content of a recipe's file.

    Attributes:
        summary: a line that describes the recipe.
        source: where the recipe was published, and what differs here.
        fit: the options of a run, by name.
    """

    summary: str
    source: str
    fit: dict[str, Any]


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(files_by_name(FOLDER, ".toml"))


def read(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: the recipe's name.

    Raises:
        ConfigError: there is no recipe of that name; names the nearest.
    """
    if name not in names():
        raise ConfigError(f"no recipe {name!r}; {nearest(name, names())}")
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return Recipe(summary=content["summary"], source=content["source"], fit=content["fit"])


def matching(options: Mapping[str, Any]) -> str | None:
    """The name of the first recipe all of whose options a run has; None where there is none.

    Args:
        options: the run's options by name, with underscores, as in `reprogram.runs.config.RunConfig`.
    """
    for name in names():
        if all(_same(options, key.replace("-", "_"), value) for key, value in read(name).fit.items()):
            return name
    return None


def _same(options: Mapping[str, Any], key: str, value: Any) -> bool:
    """Whether an option has a recipe's value, by whatever name of its learner."""
    if key == "learner":
        return stored_spelling("learners", options[key]) == stored_spelling("learners", value)
    return bool(options[key] == value)
