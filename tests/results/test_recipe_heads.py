"""Each recipe's first lines say what it reached, in which time, and with which command: as results/recipes has it."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "src/reprogram/runs/recipes").glob("*.toml"))
WORDS = r"# Test accuracy ([.\d]+) \(n = (\d+)\) after ([\d,]+) images in (\d+) s, one thread"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_begins_with_what_it_reached(path):
    with (ROOT / "results/recipes/index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["recipe"] == path.stem]
    here = [row for row in rows if (row["task"], row["host"]) == ("digits", "EfficientNet-Lite0")]
    first, command = path.read_text(encoding="utf-8").splitlines()[:2]
    assert command.startswith(f"# reprogram fit --recipe {path.stem} ")
    assert first.startswith("# Not measured yet") == (not here)
    if not here:
        return
    (row,) = here
    accuracy, n, images, seconds = re.match(WORDS, first).groups()
    assert accuracy == f"{float(row['accuracy']):.3f}"
    assert (n, images.replace(",", ""), seconds) == (row["n"], row["images"], row["seconds"])
