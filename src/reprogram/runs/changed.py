"""Finished runs whose task, host or start may be another one by now."""

from collections.abc import Callable

from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.tasks._factory import task_source


class ChangedInputs:
    """What finished runs were made of, and may be others by now; files of several runs are looked at once."""

    def __init__(self) -> None:
        self._last_changes: dict[tuple[object, ...], float] = {}

    def of(self, config: RunConfig, folder: RunFolder) -> set[str]:
        """The options of a finished run whose values may stand for others by now, and have to be loaded to be compared.

        They do where files are younger than the result, and where the run's files lay elsewhere.

        Args:
            config: says where the files lie now.
            folder: of the finished run.
        """
        before, finished = folder.read_config(), folder.result.stat().st_mtime
        source = task_source(config.task, data=config.data, skip_bad=config.skip_bad)
        changed = set()
        if self._last_change(("task", config.task, config.data, config.skip_bad), source.last_change) > finished:
            changed.add("task")
        if (before.data, before.skip_bad) != (config.data, config.skip_bad):
            changed.add("task")
        if before.download != config.download and source.depends_on_download():
            changed.add("task")
        return changed

    def _last_change(self, of: tuple[object, ...], look: Callable[[], float]) -> float:
        if of not in self._last_changes:
            self._last_changes[of] = look()
        return self._last_changes[of]
