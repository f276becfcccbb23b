"""Checks of a plan before any run begins: names, files and folders, without loading a host or a task."""

from collections.abc import Iterable
from pathlib import Path

from reprogram.errors import DataError
from reprogram.hosts._factory import host_source
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.registry import configure
from reprogram.runs.config import SPECS
from reprogram.tasks._factory import task_source
from reprogram.utils.files import exists, why_missing
from reprogram.utils.images import list_images, read


def check(planned: Iterable[Planned], plan: ExperimentPlan) -> None:
    """Refuse runs that can't begin.

    Weights and data sets that would have to be fetched aren't looked for: a run that lacks them is missing from the
    tables, and the others go on.

    Args:
        planned: all runs.
        plan: the plan that they belong to.

    Raises:
        ConfigError: an unknown host, task, canvas, program, label map or learner, or an option that it doesn't have.
        HostUnavailableError: a host's folder isn't whole.
        DataError: a file or folder that isn't there, or holds no image where photographs are expected.
    """
    if plan.photo:
        read(plan.photo)
    if plan.photographs is not None and not list_images(plan.photographs):
        raise DataError(f"{plan.photographs}: no images; give --photographs a folder of photographs")
    configs = [run.config for run in planned]
    for option, family in SPECS.items():
        for spec in dict.fromkeys(getattr(config, option) for config in configs):
            variant, options = configure(family, spec)
            _require_files(spec, variant.needs(options))
    for spec in dict.fromkeys(config.host for config in configs):
        host_source(spec).info()
    for spec, data, skip_bad in dict.fromkeys((config.task, config.data, config.skip_bad) for config in configs):
        task = task_source(spec, data=data, skip_bad=skip_bad)
        _require_files(spec, task.needs(task.config))


def _require_files(spec: str, paths: list[Path]) -> None:
    """Refuse a spec that needs a file or folder that isn't there."""
    for path in paths:
        if not exists(path):
            raise DataError(f"{path}: {why_missing(path, 'file or folder')}, which {spec} reads; give another path")
