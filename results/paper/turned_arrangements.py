"""What turned and mirrored training squares show of the test: `python results/paper/turned_arrangements.py FOLDER...`.

A folder is that of a run on `squares`, with its `predictions.csv`. The splits share no arrangement, but a test image
may be a turned or mirrored training image. For each run: accuracy on those test images, on the others, and on
pictures of a single square.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reprogram.tasks.base import Split
from reprogram.tasks.squares import CELL, Squares


def cells(split: Split) -> NDArray[np.bool_]:
    """Which cells hold a square, as their middle pixels say: n × 4 × 4."""
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
    single = cells(task.test).sum(axis=(1, 2)) == 1
    print(f"{(known & single).sum()} of the {single.sum()} test images of one square are among them")
    for folder in folders:
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
            right = np.array([row["program"] == row["label"] for row in csv.DictReader(file)])
        of_these, of_others, of_single = (right[chosen].mean() for chosen in (known, ~known, single))
        print(f"{folder.name}: right are {of_these:.4f} of these, {of_others:.4f} of the others, ", end="")
        print(f"{of_single:.4f} of those of one square")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
