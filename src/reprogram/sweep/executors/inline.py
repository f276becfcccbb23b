"""The only worker is this process itself: cells run one after another, and hosts that Python code holds are at hand."""

import os
from collections import deque

from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.loader import CachedLoader
from reprogram.sweep.scratch import ScratchFolder
from reprogram.sweep.worker import WorkerMessage, attempt


def executor(*, address: str, threads: int) -> Executor:
    """Set up this process as the worker.

    Args:
        address: empty; only clusters have one.
        threads: the number of CPU threads that results name; this process keeps its own.

    Raises:
        ConfigError: an address is given.
    """
    if address:
        raise ConfigError(f"--address {address}: is of a cluster; add --executor ray, or leave it out")
    return Inline(threads)


class Inline(Executor):
    """This process. A cell runs when its message is waited for; its progress isn't told.

    Args:
        threads: the number of CPU threads that results name.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.folder = ScratchFolder()
        self.loader = CachedLoader(self.folder.path / "tasks")
        self.messages: deque[WorkerMessage] = deque()
        self.pending: RunConfig | None = None
        self.started = 0

    def capacity(self) -> int:
        """One."""
        return 1

    def start(self) -> int:
        """Be ready; further workers never are."""
        if not self.started:
            self.messages.append(WorkerMessage(kind="ready", text=f"process {os.getpid()}"))
        self.started += 1
        return self.started - 1

    def submit(self, worker: int, config: RunConfig) -> None:
        """Note the cell, which `next_message` runs."""
        self.pending = config

    def next_message(self) -> tuple[int, WorkerMessage]:
        """Run the cell that was noted."""
        if self.messages:
            return 0, self.messages.popleft()
        assert self.pending is not None
        config, self.pending = self.pending, None
        return 0, attempt(config, self.threads, self.loader, lambda _: None)

    def close(self) -> None:
        """Forget host and tasks."""
        self.loader.forget()
        self.folder.cleanup()
