"""What it takes to run experiments: their runs, each once, then what is measured on them."""

from collections.abc import Callable, Sequence

from reprogram.errors import ConfigError, ReprogramError
from reprogram.paper.book import Book
from reprogram.paper.experiments.base import find
from reprogram.paper.page import in_order
from reprogram.paper.setup import Planned, Setup
from reprogram.sweep import Cell, placed


def plan(experiments: Sequence[str], setup: Setup) -> dict[str, list[Planned]]:
    """The runs of each experiment, in the order of the report.

    Raises:
        ConfigError: an experiment has nothing to run.
    """
    planned = {name: find(name).runs(setup) for name in in_order(experiments)}
    for name, runs in planned.items():
        if not runs and not left_out([name], setup):
            raise ConfigError(f"{name} has nothing to run: a list in the preset's [experiments.{name}] is empty")
    return planned


def left_out(experiments: Sequence[str], setup: Setup) -> list[str]:
    """What the plans leave out because it can't be run: a line each."""
    return [f"{name}: {line}" for name in in_order(experiments) for line in find(name).left_out(setup.of(name))]


def begin(planned: dict[str, list[Planned]], book: Book, say: Callable[[str], None]) -> list[Cell]:
    """Keep the plans in the book; the runs that they need, each once, with their folders."""
    cells = {run.name: Cell(run.name, run.config) for runs in planned.values() for run in runs}
    for name, runs in planned.items():
        if dropped := book.write_plan(name, runs):
            say(f"{name}: {dropped} earlier runs of other hosts, tasks or budgets under these names leave the tables")
    return placed(cells.values(), book.runs)


def measure(experiments: Sequence[str], setup: Setup, book: Book, say: Callable[[str], None]) -> list[str]:
    """Measure on the finished runs what they don't say themselves.

    Args:
        experiments: by name.
        setup: as for `plan`.
        book: where facts are kept; those that are there stay.
        say: told what is going on.

    Returns:
        What couldn't be measured, and why: a line each.
    """
    for name in in_order(experiments):
        try:
            find(name).measure(setup.of(name), book, say)
        except ReprogramError as error:
            book.gaps.append(f"{name}: {error}")
    return book.gaps
