"""Finished runs whose task, host or start may be another one by now."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.hosts._factory import host_source
from reprogram.hosts.base import Host
from reprogram.programfile.file import read
from reprogram.programfile.hub import PREFIX
from reprogram.registry import configure
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.tasks._factory import task_source
from reprogram.tasks.base import Task, TaskSource
from reprogram.utils.changes import digest_of_files, last_change
from reprogram.utils.files import user_path

WITH_FILES = {"program": "programs", "label_map": "label-maps", "loss": "losses"}
"""The family of each option whose spec may name files that a run reads once, at its start."""


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
        files: dict[str, tuple[tuple[object, ...], Callable[[], float]]] = {
            "task": ((config.task, config.data, config.skip_bad), lambda: _task(config).last_change()),
            "host": ((config.host,), lambda: _last_change_of_host(config.host)),
            "warm_start": ((config.warm_start,), lambda: _last_change_of_start(config.warm_start)),
        }
        for option in WITH_FILES:
            files[option] = (getattr(config, option),), partial(_last_change_of_files, config, option)
        changed = {option for option, (key, look) in files.items() if self._looked((option, *key), look) > finished}
        elsewhere = (before.data, before.skip_bad) != (config.data, config.skip_bad)
        if elsewhere or (before.download != config.download and _task(config).depends_on_download()):
            changed.add("task")
        return changed

    def _looked(self, at: tuple[object, ...], look: Callable[[], float]) -> float:
        if at not in self._last_changes:
            self._last_changes[at] = look()
        return self._last_changes[at]


def check_unchanged(
    config: RunConfig, folder: RunFolder, result: dict[str, Any], host: Callable[[], Host], task: Callable[[Host], Task]
) -> None:
    """Refuse the result of a finished run where its task, host or start is another one by now.

    Args:
        config: the configuration that is asked for.
        folder: of the finished run.
        result: of the run.
        host: loads the host.
        task: loads the task, in the size that it has on the host.

    Raises:
        ConfigError: it was made with other images, another host, or another program to begin with.
        DataError: what it was made with isn't there.
        HostUnavailableError: the host isn't there.
    """
    changed = ChangedInputs().of(config, folder)
    if "warm_start" in changed:
        digest = read(user_path(config.warm_start)).header.digest
        if result.get("warm_start", digest) != digest:  # Earlier versions didn't note it.
            raise _other(folder, f"another program in {config.warm_start}")
    for option in WITH_FILES:
        noted = result.get(f"{option}_file")  # Earlier versions didn't note it.
        if option in changed and noted is not None and noted != digest_of_files(_files(config, option)):
            raise _other(folder, f"another file of {getattr(config, option)}")
    if not changed & {"host", "task"}:
        return
    loaded = host()
    if "host" in changed and loaded.fingerprint != result["host_fingerprint"]:
        raise _other(folder, f"another host {config.host}")
    if "task" in changed:
        images = task(loaded)
        images = images if config.shots is None else images.few(config.shots, seed=config.seed)
        if images.fingerprint != result["task_fingerprint"]:
            raise _other(folder, f"other images of {config.task}")


def digests_of_files(config: RunConfig) -> dict[str, str]:
    """The result's fields `program_file`, `label_map_file` and `loss_file`: digests of the files that the specs name.

    Args:
        config: the run's configuration.
    """
    files = {option: _files(config, option) for option in WITH_FILES}
    return {f"{option}_file": digest_of_files(paths) for option, paths in files.items() if paths}


def _files(config: RunConfig, option: str) -> list[Path]:
    if (spec := getattr(config, option)) == "auto":
        return []
    variant, options = configure(WITH_FILES[option], spec)
    paths: list[Path] = variant.needs(options)
    return paths


def _other(folder: RunFolder, what: str) -> ConfigError:
    return ConfigError(
        f"{folder.path}: holds a finished run with {what}, whose files have changed since, or are others; choose "
        "another --out, or remove the folder"
    )


def _task(config: RunConfig) -> TaskSource:
    return task_source(config.task, data=config.data, skip_bad=config.skip_bad)


def _last_change_of_host(spec: str) -> float:
    source = host_source(spec)
    return last_change(source.needs(source.config))


def _last_change_of_start(path: str) -> float:
    """That of a program file or run folder; one of the Hub stays as it is."""
    return last_change([user_path(path)]) if path and not path.startswith(PREFIX) else 0.0


def _last_change_of_files(config: RunConfig, option: str) -> float:
    paths = _files(config, option)
    return last_change(paths) if paths else 0.0
