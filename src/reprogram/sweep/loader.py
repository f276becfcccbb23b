"""The loader of a worker, which keeps its host from one cell to the next, and tasks that a machine's workers share."""

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reprogram.canvases.base import size_in_window
from reprogram.errors import DataError
from reprogram.hosts.base import Host
from reprogram.runs.config import RunConfig
from reprogram.runs.execute import Loader
from reprogram.tasks._factory import task_source
from reprogram.tasks._split import SPLITS, Split
from reprogram.tasks.base import Task

MAX_TASKS = 4
"""The number of tasks that a worker keeps mapped."""


class CachedLoader(Loader):
    """Loads a host once for cells in a row, and maps tasks that one worker of the machine has decoded.

    Args:
        folder: the folder of the decoded tasks. Each sweep needs a new one: a task's files may change between sweeps.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._host: tuple[str, Host] | None = None
        self._tasks: dict[str, Task] = {}

    def host(self, config: RunConfig) -> Host:
        """The host, as fresh as a new one: cells leave it as it came, and its meter is set to zero."""
        is_new = self._host is None or self._host[0] != config.host
        if self._host is None or is_new:
            self._host = None  # The memory may be too small for two.
            self._host = (config.host, super().host(config))
        host = self._host[1]
        self.asked = host.asked_to_build if is_new else 0
        host.renew()
        return host

    def task(self, config: RunConfig, host: Host) -> Task:
        """The task, its arrays mapped from files.

        Args:
            config: the run's configuration.
            host: the run's host.
        """
        said: tuple[Any, ...] = (config.task, config.data, config.skip_bad, config.download)
        if task_source(config.task).takes_size():
            said = (*said, size_in_window(config.canvas, host.info.shape))
        key = hashlib.sha256(repr(said).encode()).hexdigest()[:32]
        if key not in self._tasks:
            task = _mapped(self.folder / key, lambda: super(CachedLoader, self).task(config, host))
            if len(self._tasks) >= MAX_TASKS:
                self._tasks.pop(next(iter(self._tasks)))
            self._tasks[key] = task
        return self._tasks[key]

    def forget(self) -> None:
        """Drop host and tasks, so that the next cell loads them anew."""
        self._host = None
        self._tasks.clear()


def _mapped(folder: Path, load: Callable[[], Task]) -> Task:
    """A task whose arrays are mapped from this folder's files; where the folder isn't there, it is written first.

    Raises:
        DataError: the folder can't be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if not folder.exists():
                _write(folder, load())
        return _read(folder)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: decoded tasks can't be kept there ({error.strerror or error}); free some space, "
            "or set TMPDIR to another place"
        ) from error


def _write(folder: Path, task: Task) -> None:
    """Write a task's arrays and record into a new folder, which appears as a whole."""
    temporary = folder.with_suffix(f".{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        shapes = {}
        for name in SPLITS:
            split: Split = getattr(task, name)
            shapes[name] = list(split.images.shape)
            split.images.contiguous().numpy().tofile(temporary / f"{name}.images")
            split.labels.contiguous().numpy().tofile(temporary / f"{name}.labels")
        record = {
            "name": task.name, "class_names": task.class_names, "skipped": task.skipped, "left_out": task.left_out,
            "notes": task.notes, "shapes": shapes,
        }  # fmt: skip
        (temporary / "task.json").write_text(json.dumps(record), encoding="utf-8")
        with contextlib.suppress(FileExistsError):  # Without locks, another process may have been faster.
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(folder: Path) -> Task:
    """The task that `_write` wrote."""
    record = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    splits = {}
    for name, shape in record["shapes"].items():
        images = _map(folder / f"{name}.images", torch.uint8).view(shape)
        splits[name] = Split(images=images, labels=_map(folder / f"{name}.labels", torch.int64))
    return Task(
        name=record["name"],
        class_names=tuple(record["class_names"]),
        skipped=tuple(record["skipped"]),
        left_out=record["left_out"],
        notes=tuple(record["notes"]),
        **splits,
    )


def _map(path: Path, dtype: torch.dtype) -> Tensor:
    """A flat tensor on the file's pages, shared with all processes that map it; writes stay private to this process."""
    return torch.from_file(str(path), shared=False, size=path.stat().st_size // dtype.itemsize, dtype=dtype)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, which ends with the process; without effect where the system has no locks."""
    with path.open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
