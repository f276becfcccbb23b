"""What can be found wrong before any run begins: names, files and folders, without loading a host or a task."""

from collections.abc import Iterable
from pathlib import Path

from reprogram.errors import DataError
from reprogram.images import list_images, read
from reprogram.model import host_source, task_source
from reprogram.paper.setup import Planned, Setup
from reprogram.registry import configure
from reprogram.runconfig import SPECS


def check(planned: Iterable[Planned], setup: Setup) -> None:
    """Refuse runs that can't begin.

    Weights and data sets that would have to be fetched aren't looked for: a run that misses them is a gap in the
    tables, and the others go on.

    Args:
        planned: all runs.
        setup: that they are planned on.

    Raises:
        ConfigError: an unknown host, task, canvas, program, label map or learner, or an option that it doesn't have.
        HostUnavailableError: a host's folder isn't whole.
        DataError: a file or folder that isn't there, or holds no image where photographs are expected.
    """
    if setup.photo:
        read(setup.photo)
    if setup.photographs is not None and not list_images(setup.photographs):
        raise DataError(f"{setup.photographs}: no images; give --photographs a folder of photographs")
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


def _require_files(spec: str, places: list[Path]) -> None:
    for place in places:
        if not place.exists():
            raise DataError(f"{place}: no such file or folder, which {spec} reads; give another path")
