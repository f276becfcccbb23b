"""Run experiments: their runs first, each once, then what is measured on them, then the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogram.errors import ReprogramError
from reprogram.paper.book import Book
from reprogram.paper.experiments.base import find
from reprogram.paper.page import in_order, write_page
from reprogram.paper.setup import Planned, Setup
from reprogram.sweep import Cell, Outcome, placed, run_cells


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of it.

    Attributes:
        outcomes: of the runs.
        gaps: what couldn't be measured, and why.
        report: where the page is.
    """

    outcomes: list[Outcome]
    gaps: list[str]
    report: Path


def plan(experiments: Sequence[str], setup: Setup) -> dict[str, list[Planned]]:
    """The runs of each experiment, in the order of the report."""
    return {name: find(name).runs(setup) for name in in_order(experiments)}


def run(
    experiments: Sequence[str],
    setup: Setup,
    folder: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    **workers: Any,
) -> Done:
    """Run what is missing, measure, and write the report.

    Args:
        experiments: by name.
        setup: what to run them on.
        folder: of all experiments; what is finished there stays.
        say: told what is going on.
        workers: how the runs are distributed, as `reprogram.sweep.run_cells` takes it.

    Raises:
        ConfigError: parts don't fit each other.
        DataError: data can't be read, or the folder can't be written.
    """
    book = Book(folder)
    planned = plan(experiments, setup)
    cells = {run.name: Cell(run.name, run.config) for runs in planned.values() for run in runs}
    for name, runs in planned.items():
        book.write_plan(name, runs)
    outcomes = run_cells(placed(cells.values(), book.runs), say=say, **workers)
    gaps = []
    for name in planned:
        try:
            find(name).measure(setup, book, say)
        except ReprogramError as error:
            gaps.append(f"{name}: {error}")
    return Done(outcomes=outcomes, gaps=gaps, report=write_page(book, list(planned)))
