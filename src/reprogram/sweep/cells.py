"""A cell of a grid, and what is told of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reprogram.runconfig import RunConfig

State = Literal["waiting", "running", "finished", "failed", "already"]
"""Of a cell; "waiting" again after its worker was lost, "already" where it was finished before."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        name: of its folder; no other cell has it.
        config: what is run, and in `out` where.
    """

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        cell: which.
        state: one of the last three.
        error: one line; empty unless it failed.
        attempts: how many workers began with it.
    """

    cell: Cell
    state: State
    error: str = ""
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class News:
    """How a cell stands.

    Attributes:
        cell: which.
        state: of the cell.
        worker: where it runs.
        fraction: of its budget that is spent.
        accuracy: on the validation split while it runs, on the test split when it is finished.
        error: why it failed, or waits again.
    """

    cell: Cell
    state: State
    worker: str = ""
    fraction: float = 0.0
    accuracy: float | None = None
    error: str = ""


def placed(cells: Iterable[Cell], out: str | Path) -> list[Cell]:
    """The same cells, each with the folder of its name below `out`."""
    return [Cell(cell.name, replace(cell.config, out=str(Path(out) / cell.name))) for cell in cells]
