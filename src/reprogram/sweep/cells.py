"""The cells of a grid, their events and their outcomes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reprogram.runs.config import RunConfig

State = Literal["waiting", "running", "finished", "failed", "already"]
"""The state of a cell: "waiting" again after its worker was lost, "already" where it was finished before."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        name: the name of its folder, which no other cell has.
        config: the run's configuration; `out` is its folder.
    """

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell.

    Attributes:
        cell: the cell.
        state: "finished", "failed" or "already".
        error: the reason in one line; empty unless it failed.
        attempts: the number of workers that began with it.
    """

    cell: Cell
    state: State
    error: str = ""
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class CellEvent:
    """A change in a cell's state or progress.

    Attributes:
        cell: the cell.
        state: its state now.
        worker: the worker that runs it, as text for people; empty while none does.
        fraction: the part of its budget that is spent, in 0 to 1.
        accuracy: on the validation split while it runs, on the test split when it is finished.
        error: the reason why it failed, or waits again.
    """

    cell: Cell
    state: State
    worker: str = ""
    fraction: float = 0.0
    accuracy: float | None = None
    error: str = ""


def placed(cells: Iterable[Cell], out: str | Path) -> list[Cell]:
    """The same cells, each with the folder of its name below `out`.

    Args:
        cells: cells with or without a folder.
        out: the folder of all run folders.
    """
    return [Cell(cell.name, replace(cell.config, out=str(Path(out) / cell.name))) for cell in cells]
