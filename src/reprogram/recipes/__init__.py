"""Recipes: how a program is learned, as published or as it works best here. One TOML file each.

A recipe says everything but host, task, seed and budget. What is given beside it counts more.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from reprogram.errors import ConfigError, nearest

FOLDER = files("reprogram.recipes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One file.

    Attributes:
        summary: what it is, a line.
        source: where it was published, and what differs here.
        fit: options of a run.
    """

    summary: str
    source: str
    fit: dict[str, Any]


def names() -> list[str]:
    """All recipes, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in FOLDER.iterdir() if entry.name.endswith(".toml"))


def read(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in names():
        raise ConfigError(f"no recipe {name!r}; {nearest(name, names())}")
    found = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return Recipe(summary=found["summary"], source=found["source"], fit=found["fit"])


def matching(options: Mapping[str, Any]) -> str | None:
    """The recipe whose every option a run has, if there is one.

    Args:
        options: of the run, with underscores, as in `reprogram.runconfig.RunConfig`.
    """
    for name in names():
        if all(options[key.replace("-", "_")] == value for key, value in read(name).fit.items()):
            return name
    return None
