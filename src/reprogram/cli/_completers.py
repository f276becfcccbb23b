"""What a shell completes: the names of components, recipes, experiments and presets, asked for at the TAB key."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def components(family: str) -> Callable[[Any], dict[str, str]]:
    """A function that lists a family's variants, each with its line of documentation.

    Args:
        family: a key of `reprogram.registry.FAMILIES`.
    """

    def complete(_: Any) -> dict[str, str]:
        from reprogram.registry import names, summary

        return {name: summary(family, name) for name in names(family)}

    return complete


def recipes(_: Any) -> dict[str, str]:
    """The recipes, each with its summary."""
    from reprogram.runs.recipes import names, read

    return {name: read(name).summary for name in names()}


def experiments(_: Any) -> list[str]:
    """The paper's experiments, and what `reprogram paper` takes beside them."""
    from reprogram.paper.experiments.base import names

    return ["all", "list", "report", *names()]


def executors(_: Any) -> list[str]:
    """What runs the workers of a grid."""
    from reprogram.sweep.executors import executor_names

    return executor_names()


def run_names(_: Any) -> list[str]:
    """The runs in the folder that `REPROGRAM_RUNS` names, or in `runs`."""
    from reprogram.runs.index import RunIndex

    return RunIndex(Path(os.environ.get("REPROGRAM_RUNS") or "runs")).names()


def presets(_: Any) -> list[str]:
    """The presets that come with the project."""
    from reprogram.paper.preset import preset_names

    return preset_names()


def batteries(_: Any) -> list[str]:
    """The batteries of audits that come with the project."""
    from reprogram.auditing.battery import battery_names

    return battery_names()
