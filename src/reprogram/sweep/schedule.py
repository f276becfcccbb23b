"""Which worker does which cell, and what happens when one is lost."""

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path

from reprogram.checkpoint import Checkpoint
from reprogram.errors import ConfigError, DataError, ProcessLostError, ReprogramError
from reprogram.launch import launched_size
from reprogram.runfolder import RunFolder
from reprogram.sweep.cells import Cell, News, Outcome, State
from reprogram.sweep.executors import make_executor
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.worker import Report

MAX_STILLBORN = 10
"""How many workers in a row may end before one is ready."""


def run_cells(
    cells: Iterable[Cell],
    *,
    executor: str = "local",
    workers: int = 1,
    address: str = "",
    retries: int = 2,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
    observe: Callable[[News], None] = lambda _: None,
) -> list[Outcome]:
    """Run every cell that isn't finished, each by `reprogram.runs.execute` in its own run folder.

    Workers load a host once for the cells in a row that have it. When this call ends, by SIGINT, by an exception or by
    itself, so do they; what they are at is saved, and the same call goes on with it.

    Args:
        cells: with names and folders of their own.
        executor: "local" runs processes of this machine, "ray" actors of a cluster.
        workers: how many at a time; 0: as many as there is room for.
        address: of the cluster.
        retries: how often in a row a cell may be begun anew whose worker was lost before it had saved a further step.
        threads: of each worker.
        say: told what is worth a line: failures and retries.
        observe: told how each cell stands, whenever that changes.

    Returns:
        What came of each, in the order of the cells.

    Raises:
        ConfigError: two cells of the same name or folder, an unknown executor, numbers that are too small.
        ProcessLostError: no worker can be started.
    """
    cells = list(cells)
    if workers < 0 or retries < 0 or threads < 1:
        raise ConfigError("workers and retries are at least 0, threads at least 1")
    if launched_size() > 1:
        raise ConfigError("a sweep starts its own workers; start it without torchrun")
    _check_distinct(cells)
    schedule = _Schedule(retries, say, observe)
    for cell in cells:
        schedule.add(cell)
    if schedule.waiting:
        with contextlib.closing(make_executor(executor, address=address, threads=threads)) as made:
            schedule.run(made, workers or made.room())
    return [schedule.outcomes[cell.name] for cell in cells]


def _check_distinct(cells: list[Cell]) -> None:
    for what, values in {
        "named": [cell.name for cell in cells],
        "in the folder": [str(cell.config.folder.resolve()) for cell in cells],
    }.items():
        for value, count in Counter(values).items():
            if count > 1:
                raise ConfigError(f"{count} cells are {what} {value}; each needs its own")


class _Schedule:
    """Cells that wait, cells that run, and what came of the others."""

    def __init__(self, retries: int, say: Callable[[str], None], observe: Callable[[News], None]) -> None:
        self.retries, self.say, self.observe = retries, say, observe
        self.outcomes: dict[str, Outcome] = {}
        self.waiting: dict[str, deque[Cell]] = {}  # By host.
        self.running: dict[int, Cell] = {}
        self.places: dict[int, str] = {}  # Of the workers that are ready or running.
        self.hosts: dict[int, str] = {}  # That they have loaded.
        self.starting: set[int] = set()
        self.stillborn = 0
        self.attempts: Counter[str] = Counter()
        self.in_vain: Counter[str] = Counter()
        self.saved: dict[str, int] = {}

    def add(self, cell: Cell) -> None:
        """Take up a cell, unless it is finished or can't be begun."""
        try:
            state = RunFolder(cell.config.folder).prepare(cell.config)
        except ReprogramError as error:
            self._conclude(cell, "failed", error=str(error))
            return
        if state == "finished":
            self._conclude(cell, "already")
        else:
            self.waiting.setdefault(cell.config.host, deque()).append(cell)

    def run(self, executor: Executor, workers: int) -> None:
        """Until nothing waits and nothing runs."""
        while self.waiting or self.running:
            wanted = sum(map(len, self.waiting.values())) + len(self.running)
            while len(self.starting) + len(self.places) < min(workers, wanted):
                self.starting.add(executor.start())
            for worker in self.places.keys() - self.running.keys():
                if self.waiting:
                    self._begin(worker, self._next(worker), executor)
            worker, report = executor.report()
            if report.kind == "ready":
                self.starting.discard(worker)
                self.places[worker], self.stillborn = report.text, 0
            elif report.kind == "lost":
                self._lost(worker, report)
            elif report.kind == "running":
                self._tell(self.running[worker], "running", self.places[worker], report)
            else:
                if report.details:
                    self.say(report.details.rstrip())
                state: State = "finished" if report.kind == "finished" else "failed"
                self._conclude(self.running.pop(worker), state, accuracy=report.accuracy, error=report.text)

    def _next(self, worker: int) -> Cell:
        """Of the worker's own host if there is one, else of one that no other has, else of what most wait for."""
        host = self.hosts.get(worker, "")
        if host not in self.waiting:
            loaded = set(self.hosts.values())
            new = (name for name in self.waiting if name not in loaded)
            host = next(new, "") or max(self.waiting, key=lambda name: len(self.waiting[name]))
        cell = self.waiting[host].popleft()
        if not self.waiting[host]:
            del self.waiting[host]
        return cell

    def _begin(self, worker: int, cell: Cell, executor: Executor) -> None:
        self.running[worker] = cell
        self.hosts[worker] = cell.config.host
        self.attempts[cell.name] += 1
        executor.give(worker, cell.config)
        self._tell(cell, "running", self.places[worker])

    def _lost(self, worker: int, report: Report) -> None:
        """A cell goes on with another worker, unless that has been in vain too often."""
        self.hosts.pop(worker, None)
        if self.places.pop(worker, None) is None:
            self.starting.discard(worker)
            self.stillborn += 1
            if self.stillborn > MAX_STILLBORN:
                raise ProcessLostError(f"{self.stillborn} workers ended before they were ready: {report.details}")
            return
        cell = self.running.pop(worker, None)
        if cell is None:
            return
        step = _saved_step(cell.config.folder)
        further = step > self.saved.get(cell.name, 0)
        self.saved[cell.name] = step
        self.in_vain[cell.name] = 0 if further else self.in_vain[cell.name] + 1
        if self.in_vain[cell.name] > self.retries:
            self._conclude(cell, "failed", error=f"{report.text}, {self.in_vain[cell.name]} times without progress")
            return
        self.say(f"{cell.name}: {report.text}; another goes on with it from step {step}")
        self.waiting.setdefault(cell.config.host, deque()).append(cell)
        self._tell(cell, "waiting", "", report)

    def _tell(self, cell: Cell, state: State, worker: str, report: Report | None = None) -> None:
        report = report or Report(kind="running")
        self.observe(
            News(
                cell=cell,
                state=state,
                worker=worker,
                fraction=report.fraction,
                accuracy=report.accuracy,
                error=report.text,
            )
        )

    def _conclude(self, cell: Cell, state: State, *, accuracy: float | None = None, error: str = "") -> None:
        attempts = self.attempts[cell.name]
        self.outcomes[cell.name] = Outcome(cell, state, error, attempts)
        self.observe(News(cell=cell, state=state, accuracy=accuracy, error=error))


def _saved_step(folder: Path) -> int:
    """The step that a run would go on from."""
    try:
        found = Checkpoint(RunFolder(folder).checkpoint).load()
    except DataError:
        return 0
    return int(found[1]["state"]["step"]) if found is not None else 0
