"""Grids of runs: independent cells, each an ordinary run in a folder of its own, run by workers.

    from reprogram.sweep import read_grid, run_cells, placed

    outcomes = run_cells(placed(read_grid("grid.toml"), "runs"), workers=4)

A cell that fails doesn't stop the others; the cell of a worker that is killed goes on from its checkpoint; and a second
call runs only the cells that are missing.
"""

from reprogram.sweep.cells import Cell, CellEvent, Outcome, placed
from reprogram.sweep.executors import executor_names
from reprogram.sweep.grid import read_grid
from reprogram.sweep.scheduler import run_cells

__all__ = ["Cell", "CellEvent", "Outcome", "executor_names", "placed", "read_grid", "run_cells"]
