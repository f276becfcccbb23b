"""What turned and mirrored training squares show of the test: `python results/paper/turned_arrangements.py FOLDER...`.

A folder is that of a run on `squares`, with its `predictions.csv`. The splits share no arrangement, but a test image
may be a turned or mirrored training image. For each run: accuracy on those test images, and on the others.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reprogram.tasks.base import Split
from reprogram.tasks.squares import Squares

CELL = 9
"""Pixels a side of a cell; the middle pixel of a cell is white where it holds a square."""


def cells(split: Split) -> NDArray[np.bool_]:
    """Which cells hold a square: n × 4 × 4."""
    return split.images[:, 0, CELL // 2 :: CELL, CELL // 2 :: CELL].numpy() > 0


def orbit(arrangement: NDArray[np.bool_]) -> set[bytes]:
    """The arrangement in each of the square's eight symmetries."""
    turned = [np.rot90(arrangement, quarters) for quarters in range(4)]
    return {one.tobytes() for each in turned for one in (each, each[:, ::-1])}


def main(folders: list[Path]) -> None:
    """Print a line for each run."""
    for folder in folders:
        if not (folder / "predictions.csv").is_file():
            sys.exit(f"{folder}: no predictions.csv there; give folders of finished runs on squares")
    task = Squares(Squares.Config()).load()
    shown = set().union(*(orbit(one) for one in np.unique(cells(task.train), axis=0)))
    known = np.array([one.tobytes() in shown for one in cells(task.test)])
    print(f"{known.sum():,} of {len(known):,} test images are turned or mirrored training images")
    for folder in folders:
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
            right = np.array([row["program"] == row["label"] for row in csv.DictReader(file)])
        of_these, of_others = right[known].mean(), right[~known].mean()
        print(f"{folder.name}: {of_these:.4f} of these are right, and {of_others:.4f} of the others")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
