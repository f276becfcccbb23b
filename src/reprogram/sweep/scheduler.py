"""The scheduler of a sweep: it gives cells to workers, and has a lost worker's cell run again."""

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path

from reprogram.errors import ConfigError, DataError, ProcessLostError, ReprogramError
from reprogram.runs.changed import ChangedInputs
from reprogram.runs.folder import RunFolder
from reprogram.sweep.cells import Cell, CellEvent, Outcome, State
from reprogram.sweep.executors import check_executor, make_executor
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.worker import WorkerMessage
from reprogram.training.checkpoint import Checkpoint
from reprogram.utils.process import launched_size, left_over

MAX_FAILED_STARTS = 10
"""The number of workers in a row that may end before they are ready."""


def run_cells(
    cells: Iterable[Cell],
    *,
    executor: str = "local",
    workers: int = 1,
    address: str = "",
    retries: int = 2,
    threads: int = 1,
    silence_s: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    on_event: Callable[[CellEvent], None] = lambda _: None,
) -> list[Outcome]:
    """Run every cell that isn't finished, each by `reprogram.runs.execute.execute` in its own run folder.

    A worker loads a host once for consecutive cells on it. When this call ends, by SIGINT, by an exception or by
    itself, so do the workers; the cells that they are running are saved, and the same call goes on with them.

    Args:
        cells: cells whose names and folders differ.
        executor: "local" runs processes of this machine, "ray" actors of a cluster.
        workers: the number of workers at a time; 0 for as many as there is room for.
        address: the address of the cluster.
        retries: how often in a row a cell may be begun anew whose worker was lost before it had saved a further step.
        threads: the number of CPU threads of each worker.
        silence_s: seconds after which a cell fails whose worker sends no message, such as where its host hangs; None
            for never. Only local worker processes are ended so.
        say: called with a line about each failure and retry.
        on_event: called whenever a cell's state or progress changes.

    Returns:
        The outcome of each cell, in the order of the cells.

    Raises:
        ConfigError: two cells have the same name or folder, the executor is unknown, or a number is too small.
        ProcessLostError: no worker can be started.
    """
    cells = list(cells)
    check_room(executor, workers, threads)
    if retries < 0:
        raise ConfigError("retries are at least 0")
    if launched_size() > 1:
        raise ConfigError(f"{left_over()}; a sweep starts its own: start it without torchrun, or unset these variables")
    _check_distinct(cells)
    scheduler = _Scheduler(retries, say, on_event)
    for cell in cells:
        scheduler.add(cell)
    if scheduler.waiting:
        with contextlib.closing(make_executor(executor, address=address, threads=threads)) as pool:
            pool.silence_s = silence_s
            scheduler.run(pool, workers or pool.capacity())
    return [scheduler.outcomes[cell.name] for cell in cells]


def check_room(executor: str, workers: int, threads: int) -> None:
    """Refuse options of `run_cells` that no cell could be run with.

    Args:
        executor: its name.
        workers: the number of workers at a time; 0 for as many as there is room for.
        threads: of each.

    Raises:
        ConfigError: there is no such executor, or a number is too small.
    """
    check_executor(executor)
    if workers < 0:
        raise ConfigError(f"workers={workers}; a number is expected, or 0 for as many as there is room for")
    if threads < 1:
        raise ConfigError(f"threads={threads}; at least 1 is expected")


def _check_distinct(cells: list[Cell]) -> None:
    """Refuse two cells of the same name or folder."""
    for what, values in {
        "named": [cell.name for cell in cells],
        "in the folder": [os.path.realpath(cell.config.folder) for cell in cells],
    }.items():
        for value, count in Counter(values).items():
            if count > 1:
                raise ConfigError(f"{count} cells are {what} {value}; each needs its own")


class _Scheduler:
    """The cells that wait, the cells that run, and the outcomes of the others.

    Args:
        retries: how often in a row a cell may be begun anew without progress.
        say: called with a line about each failure and retry, and with warnings about tasks, once each.
        on_event: called whenever a cell's state or progress changes.
    """

    def __init__(self, retries: int, say: Callable[[str], None], on_event: Callable[[CellEvent], None]) -> None:
        self.retries, self.say, self.on_event = retries, say, on_event
        self.outcomes: dict[str, Outcome] = {}
        self.waiting: dict[str, deque[Cell]] = {}  # By the host's spec.
        self.running: dict[int, Cell] = {}
        self.locations: dict[int, str] = {}  # Process and machine of the workers that are ready.
        self.hosts: dict[int, str] = {}  # The hosts that the workers have loaded.
        self.starting: set[int] = set()
        self.ended: set[int] = set()  # The workers that were ended with their cell, and aren't lost yet.
        self.changed = ChangedInputs()
        self.compared: set[str] = set()  # The finished cells that a worker holds against what they were made of.
        self.failed_starts = 0
        self.attempts: Counter[str] = Counter()
        self.fruitless_retries: Counter[str] = Counter()
        self.saved: dict[str, int] = {}
        self.warnings: set[str] = set()

    def add(self, cell: Cell) -> None:
        """Add a cell to those that wait, unless it can't be begun, or is finished and its images are the same."""
        try:
            folder = RunFolder(cell.config.folder)
            state = folder.prepare(cell.config)
            finished = state == "finished"
            known = finished and not self.changed.of(cell.config, folder)
        except ReprogramError as error:
            self._conclude(cell, "failed", error=str(error))
            return
        if known:
            self._conclude(cell, "already")
        else:
            self.compared |= {cell.name} if finished else set()
            self.waiting.setdefault(cell.config.host, deque()).append(cell)

    def run(self, executor: Executor, workers: int) -> None:
        """Start workers, give them cells and handle their messages, until no cell waits or runs."""
        while self.waiting or self.running:
            unfinished = sum(map(len, self.waiting.values())) + len(self.running)
            while len(self.starting) + len(self.locations) < min(workers, unfinished):
                self.starting.add(executor.start())
            for worker in self.locations.keys() - self.running.keys():
                if self.waiting:
                    self._begin(worker, self._next(worker), executor)
            worker, message = executor.next_message()
            if message.kind == "ready":
                self.starting.discard(worker)
                self.locations[worker], self.failed_starts = message.text, 0
            elif message.kind == "lost":
                self._handle_loss(worker, message)
            elif worker not in self.running:
                continue  # The last word of a worker that was given up.
            elif message.kind == "running":
                self._notify(self.running[worker], "running", self.locations[worker], message)
            else:
                self._say_details(message.details)
                state: State = "finished" if message.kind == "finished" else "failed"
                self._conclude(self.running.pop(worker), state, accuracy=message.accuracy, error=message.text)
                if message.ended:  # It gets no other cell.
                    self.ended.add(worker)
                    del self.locations[worker]

    def _next(self, worker: int) -> Cell:
        """Take the next cell for a worker.

        It is one on the worker's own host, else on a host that no worker has loaded, else on the host with most cells.
        """
        host = self.hosts.get(worker, "")
        if host not in self.waiting:
            loaded = set(self.hosts.values())
            unloaded = (name for name in self.waiting if name not in loaded)
            host = next(unloaded, "") or max(self.waiting, key=lambda name: len(self.waiting[name]))
        cell = self.waiting[host].popleft()
        if not self.waiting[host]:
            del self.waiting[host]
        return cell

    def _begin(self, worker: int, cell: Cell, executor: Executor) -> None:
        """Give a cell to a worker that is ready."""
        self.running[worker] = cell
        self.hosts[worker] = cell.config.host
        self.attempts[cell.name] += 1
        executor.submit(worker, cell.config)
        self._notify(cell, "running", self.locations[worker])

    def _handle_loss(self, worker: int, message: WorkerMessage) -> None:
        """Have a lost worker's cell go on with another worker, unless retries have been fruitless too often."""
        self.hosts.pop(worker, None)
        if worker in self.ended:
            self.ended.remove(worker)
            return
        if self.locations.pop(worker, None) is None:
            self.starting.discard(worker)
            self.failed_starts += 1
            if self.failed_starts > MAX_FAILED_STARTS:
                raise ProcessLostError(f"{self.failed_starts} workers ended before they were ready: {message.details}")
            return
        cell = self.running.pop(worker, None)
        if cell is None:
            return
        step = _saved_step(cell.config.folder)
        further = step > self.saved.get(cell.name, 0)
        self.saved[cell.name] = step
        self.fruitless_retries[cell.name] = 0 if further else self.fruitless_retries[cell.name] + 1
        if self.fruitless_retries[cell.name] > self.retries:
            self._conclude(
                cell, "failed", error=f"{message.text}, {self.fruitless_retries[cell.name]} times without progress"
            )
            return
        self.say(f"{cell.name}: {message.text}; another goes on with it from step {step}")
        self.waiting.setdefault(cell.config.host, deque()).append(cell)
        self._notify(cell, "waiting", "", message)

    def _say_details(self, details: str) -> None:
        """Say the lines of a message; a warning, which all cells of a task may have, once."""
        for line in details.splitlines():
            if line not in self.warnings:
                self.say(line)
            if line.startswith("warning: "):
                self.warnings.add(line)

    def _notify(self, cell: Cell, state: State, worker: str, message: WorkerMessage | None = None) -> None:
        """Call `on_event` with a cell that isn't finished."""
        message = message or WorkerMessage(kind="running")
        self.on_event(
            CellEvent(
                cell=cell,
                state=state,
                worker=worker,
                fraction=message.fraction,
                accuracy=message.accuracy,
                error=message.text,
            )
        )

    def _conclude(self, cell: Cell, state: State, *, accuracy: float | None = None, error: str = "") -> None:
        """Store a cell's outcome and call `on_event` with it."""
        state = "already" if state == "finished" and cell.name in self.compared else state
        attempts = self.attempts[cell.name]
        self.outcomes[cell.name] = Outcome(cell, state, error, attempts)
        self.on_event(CellEvent(cell=cell, state=state, accuracy=accuracy, error=error))


def _saved_step(folder: Path) -> int:
    """The step in a run's checkpoint, 0 where there is none."""
    try:
        checkpoint = Checkpoint(RunFolder(folder).checkpoint).load()
    except DataError:
        return 0
    return int(checkpoint[1]["state"]["step"]) if checkpoint is not None else 0
