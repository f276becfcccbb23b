"""An index.csv in every folder of results/: a line for each stored file, with the options that vary in the folder.

`make results` writes them, `python docs/_ext/results_index.py --check` says which aren't current. results/README.md
says what the columns mean. Only the standard library is needed; results_rows.py reads the files.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path

from results_rows import ROOT, Row, rows

RESULTS = ROOT / "results"
NAME = "index.csv"
LEAD = ("experiment", "of", "detector", "task", "mode", "host", "label map", "canvas", "program", "window", "batch")
"""Columns that stand first, also where they don't vary: what a reader looks for. Lines are sorted by them first."""
OPTIONS = ("experiments", "state", "recipe", "shots", "augmentation", "learner", "loss", "batch size")
"""Columns that come next if they vary; the other options follow by name."""
MEASURED = ("accuracy", "interval low", "interval high", "n", "seed", "images", "seconds")
BASELINES = ("label map alone", "worth", "worth low", "worth high", "top label", "outside", "all scores")
BASELINES += ("linear probe", "direct training", "untrained", "chance", "majority")
"""What was measured, in this order; what only some kinds of file have follows."""


def folders(root: Path = RESULTS) -> list[Path]:
    """Every folder that gets an index: results/ itself, each one in it, and the paper's facts."""
    below = sorted(path for path in root.iterdir() if path.is_dir())
    facts = [path / "facts" for path in below if (path / "facts").is_dir()]
    return [root, *below, *facts]


def index(folder: Path) -> str:
    """The text of a folder's index; empty if it holds no results."""
    found = rows(folder)
    if not found:
        return ""
    asked, measured = _asked(found), _measured(found)
    found.sort(key=lambda row: [_value(row.cells.get(name, "")) for name in (*asked, "seed", "file")])
    head = [*asked, *measured, "file"]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [head, *([row.cells.get(name, "") for name in head] for row in found)]
    )
    return out.getvalue()


def _asked(found: list[Row]) -> list[str]:
    """The columns of what was asked for: those that stand first, then the options that vary."""
    lead = [name for name in LEAD if _any(found, name)]
    options = {name for row in found for name in row.options} - set(LEAD)
    varied = {name for name in options if len({row.cells.get(name, "") for row in found}) > 1}
    first = [name for name in OPTIONS if name in varied]
    return [*lead, *first, *sorted(varied - set(first))]


def _measured(found: list[Row]) -> list[str]:
    """The columns of what was measured, without those that are empty in the whole folder."""
    every = dict.fromkeys([*MEASURED, *BASELINES, *(name for row in found for name in row.measured)])
    return [name for name in every if any(row.measured.get(name) for row in found)]


def _value(cell: str) -> tuple[int, float, str]:
    try:
        return 0, float(cell), ""
    except ValueError:
        return 1, 0.0, cell.lower()


def _any(found: Iterable[Row], name: str) -> bool:
    return any(row.cells.get(name) for row in found)


def write(folder: Path) -> None:
    """Write a folder's index."""
    text = index(folder)
    if text:
        (folder / NAME).write_bytes(text.encode())


def stale(root: Path = RESULTS) -> list[Path]:
    """Each index that isn't what the files say, is missing, or has no results beside it."""
    wanted = {folder / NAME: text.encode() for folder in folders(root) if (text := index(folder))}
    wrong = [path for path, text in wanted.items() if not path.is_file() or path.read_bytes() != text]
    return sorted([*wrong, *(path for path in root.rglob(NAME) if path not in wanted)])


def main(arguments: list[str]) -> int:
    """Write every index, or with `--check` say which aren't current."""
    parser = argparse.ArgumentParser(description="Write an index.csv in every folder of results/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if an index isn't current")
    if parser.parse_args(arguments).check:
        wrong = stale()
        for path in wrong:
            print(f"{path.relative_to(ROOT)}: not what the files beside it say; run make results")
        return int(bool(wrong))
    for folder in folders():
        write(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
