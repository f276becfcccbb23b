"""`reprogram sweep`: run a grid."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reprogram.cli._completers import executors
from reprogram.cli.console import Common, Display, Whole, emit, is_live, table
from reprogram.cli.varying import varying_columns
from reprogram.types import Precision
from reprogram.utils.files import exists
from reprogram.utils.process import start_torch
from reprogram.utils.text import printable

if TYPE_CHECKING:
    from reprogram.sweep.cells import Cell, CellEvent, Outcome

MAX_ROWS = 12
FAILED = 3


def sweep_command(
    grid: Path,
    *,
    out: Path = Path("runs"),
    executor: Annotated[str, Parameter(completer=executors)] = "local",
    address: str = "",
    workers: Whole = 0,
    retries: Whole = 2,
    precision: Precision | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
    common: Common | None = None,
) -> int:
    """Run every cell of a grid that isn't finished, each as `reprogram fit` would, in a run folder below --out.

    A cell that fails is reported and doesn't stop the others. The same command goes on with what is missing.

    Args:
        grid: TOML file with a table [grid]: the options of `reprogram fit`, where a list is an axis.
        out: folder of the run folders.
        executor: where workers run: local, in processes of this machine; ray, on a cluster.
        address: of the Ray cluster, such as 10.0.0.1:6379, or auto.
        workers: how many at a time; 0 is as many as there is room for.
        retries: how often in a row a cell is begun anew whose worker was lost before it got further.
        precision: the type that hosts compute in, for every cell (default: the grid's).
        list_: show the cells and how they stand; run nothing.
        common: options of every verb; --threads is each worker's, 1 by default.
    """
    common = common or Common()
    threads = 1 if common.threads is None else common.threads
    start_torch(threads)
    from reprogram.sweep.cells import placed
    from reprogram.sweep.grid import read_grid
    from reprogram.sweep.scheduler import check_room, run_cells
    from reprogram.utils.files import require_writable

    check_room(executor, workers, threads)
    chosen = {"device": common.device, "precision": precision}
    fixed = {name: value for name, value in chosen.items() if value is not None}
    cells = placed(read_grid(grid, fixed, say=Display(common.quiet).say), out)
    if list_:
        _list(cells, common.json)
        return 0
    require_writable(out)
    with display_cells(len(cells), common.quiet) as (say, on_event):
        outcomes = run_cells(
            cells,
            executor=executor,
            workers=workers,
            address=address,
            retries=retries,
            threads=threads,
            say=say,
            on_event=on_event,
        )
    return _conclude(outcomes, common)


def _list(cells: "list[Cell]", as_json: bool) -> None:
    """Print the cells, their states and the options in which they differ."""
    from reprogram.runs.folder import RunFolder

    states = []
    for cell in cells:
        folder = RunFolder(cell.config.folder)
        states.append("finished" if exists(folder.result) else "begun" if exists(folder.config) else "missing")
    if as_json:
        emit([{**_row(cell), "state": state} for cell, state in zip(cells, states, strict=True)])
    else:
        columns = varying_columns([vars(cell.config) for cell in cells])
        rows = zip([cell.name for cell in cells], states, *columns.values(), strict=True)
        table([("name", "state", *(key.replace("_", " ") for key in columns)), *rows], headed=True)


def _row(cell: "Cell") -> dict[str, Any]:
    return {"name": cell.name, "folder": str(cell.config.folder)}


def _conclude(outcomes: "list[Outcome]", common: Common) -> int:
    """Print the outcomes, what speaks against programs, and the errors of failed cells; returns the exit code."""
    doubtful = {outcome.cell.name: doubts_of(outcome) for outcome in outcomes}
    if common.json:
        stands = ({"state": o.state, "error": o.error, "attempts": o.attempts} for o in outcomes)
        emit([{**_row(o.cell), **s, "doubts": doubtful[o.cell.name]} for o, s in zip(outcomes, stands, strict=True)])
    counts = {state: sum(o.state == state for o in outcomes) for state in ("finished", "already", "failed")}
    if not common.json:
        print(f"{counts['finished']} finished, {counts['already']} finished before, {counts['failed']} failed")
        for name, reasons in doubtful.items():
            for line in reasons.values():
                print(printable(f"{name}: {line}"))
    return FAILED if tell_failed(outcomes) else 0


def tell_failed(outcomes: "list[Outcome]") -> bool:
    """Print the errors of failed cells; returns whether there are any.

    Args:
        outcomes: of all cells.
    """
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in failed:
        print(f"reprogram: {printable(outcome.cell.name)} failed: {printable(outcome.error)}", file=sys.stderr)
    return bool(failed)


def doubts_of(outcome: "Outcome") -> dict[str, str]:
    """What speaks against the program of a finished cell, a sentence for each reason; empty for a failed one.

    Args:
        outcome: the cell's outcome.
    """
    from reprogram.errors import DataError
    from reprogram.report.doubts import doubts
    from reprogram.runs.folder import RunFolder

    if outcome.state == "failed":
        return {}
    with contextlib.suppress(
        DataError, KeyError, TypeError, ValueError, AttributeError
    ):  # `runs` says what is damaged.
        return doubts(RunFolder(outcome.cell.config.folder).read_result())
    return {}


@contextlib.contextmanager
def display_cells(
    num_cells: int, quiet: bool, *, validations: bool = False
) -> "Iterator[tuple[Callable[[str], None], Callable[[CellEvent], None]]]":
    """Show the progress of cells: a live table where stderr is a terminal, else a line a cell.

    Args:
        num_cells: the number of cells.
        quiet: whether nothing is shown.
        validations: whether a line is shown for each validation too, where no table is.

    Yields:
        The functions `say` and `on_event` for `run_cells`.
    """
    display = Display(quiet)
    if quiet or not is_live():
        yield display.say, _Lines(display, num_cells, validations)
        return
    from rich.console import Console
    from rich.live import Live

    shown = _Table(num_cells)
    with Live(get_renderable=shown.render, console=Console(stderr=True), refresh_per_second=4) as live:
        yield lambda text: live.console.print(printable(text), markup=False, highlight=False), shown


class _Lines:
    """A line for each cell that is finished or has failed, and perhaps for each validation of those that run."""

    def __init__(self, display: Display, num_cells: int, validations: bool) -> None:
        self.display, self.num_cells, self.done = display, num_cells, 0
        self.validations = validations
        self.validated: dict[str, float] = {}

    def __call__(self, event: "CellEvent") -> None:
        name, accuracy = event.cell.name, event.accuracy
        if event.state in ("finished", "failed", "already"):
            self.done += 1
            state = "finished before" if event.state == "already" else event.state
            reached = f", test accuracy {accuracy:.4f}" if accuracy is not None else ""
            error = f": {event.error}" if event.error else ""
            self.display.say(f"{self.done}/{self.num_cells}  {name}  {state}{reached}{error}")
        elif self.validations and accuracy is not None and accuracy != self.validated.get(name):
            self.validated[name] = accuracy
            self.display.say(f"{100 * event.fraction:3.0f} %  {name}  validation {accuracy:.3f}")


class _Table:
    """The counts of cells by state, and a row for each cell that runs."""

    def __init__(self, num_cells: int) -> None:
        self.num_cells = num_cells
        self.running: dict[str, CellEvent] = {}
        self.counts = {"finished": 0, "already": 0, "failed": 0}

    def __call__(self, event: "CellEvent") -> None:
        self.running = {name: last for name, last in self.running.items() if name != event.cell.name}
        if event.state == "running":
            self.running = {**self.running, event.cell.name: event}  # Replaced, not changed: another thread draws it.
        elif event.state in self.counts:
            self.counts[event.state] += 1

    def render(self) -> Any:
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table

        counts = self.counts
        done = counts["finished"] + counts["already"]
        title = f"{done} of {self.num_cells} finished, {counts['failed']} failed, {len(self.running)} running"
        rows = Table(box=None, pad_edge=False)
        for heading in ("cell", "worker", "done", "validation"):
            rows.add_column(heading, justify="left" if heading in ("cell", "worker") else "right", no_wrap=True)
        for name, event in sorted(self.running.items())[:MAX_ROWS]:
            accuracy = f"{event.accuracy:.3f}" if event.accuracy is not None else "–"
            rows.add_row(escape(name), escape(printable(event.worker)), f"{100 * event.fraction:.0f} %", accuracy)
        return Group(title, rows)
