"""The table of docs/paper.md with trained hosts beside the paper's: `python docs/_ext/paper_level.py` writes it."""

import json
import re
from pathlib import Path
from typing import Any

import kept

from reprogram.paper.published import MARK, TABLE1, published_task

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "paper.md"
RESULTS = ROOT / "results" / "paper" / "next"
BEGIN, END = "<!-- level: written by make results -->", "<!-- end of level -->"

TASKS = {"squares": "counting", "mnist": "MNIST", "cifar10-jpeg": "CIFAR-10 after JPEG"}
HEAD = ["task", "host", "seed", "images", "batch", "by the top label alone", "95 % interval", "map alone"]
HEAD += ["worth of the program", "linear probe"]

Cell = tuple[dict[str, Any], dict[str, Any]]
"""A run's place in the plan, and its result."""


def cells(folder: Path = RESULTS) -> list[Cell]:
    """The finished runs on trained hosts, by task, the best first."""
    found = []
    for planned in json.loads((folder / "plans" / "table1.json").read_text(encoding="utf-8")):
        path = folder / "runs" / planned["run"] / "result.json"
        if planned["axis"] == {"state": "as given"} and path.exists():
            found.append((planned, json.loads(path.read_text(encoding="utf-8"))))
    tasks = list(TASKS)
    return sorted(found, key=lambda cell: (tasks.index(cell[0]["task"]), -cell[1]["test"]["accuracy"]))


def table(found: list[Cell]) -> str:
    """A line for each run, under one for each task that says what the paper's trained hosts reach."""
    rows: list[list[Any]] = []
    for task, called in TASKS.items():
        published = published_task(task)
        theirs = sorted(accuracies[published] for accuracies in TABLE1.values() if published in accuracies)
        line = [called, f"*the paper's {len(theirs)}* {MARK}", "", "", "", f"*{theirs[0]:.4f} to {theirs[-1]:.4f}*"]
        of_task = [row(*cell) for cell in found if cell[0]["task"] == task]
        rows += [line + [""] * (len(HEAD) - len(line)), *of_task] if of_task else []
    return kept.table(HEAD, rows)


def row(planned: dict[str, Any], result: dict[str, Any]) -> list[Any]:
    """A run's line."""
    top, alone = result["host_shows"]["top_label"], result["baselines"]["map_alone"]
    low, high = top["interval"]
    probe = result["baselines"].get("linear_probe")
    augmentation = result.get("augmentation", "none")
    varied = "" if augmentation == "none" else f", `{augmentation}`"
    return [
        TASKS[planned["task"]],
        planned["host"],
        planned["seed"],
        f"{result['images_seen']:,}{varied}",
        result["batch_size"],
        f"**{top['accuracy']:.4f}**",
        f"{low:.4f} to {high:.4f} (n = {result['test']['n']:,})",
        f"{alone['accuracy']:.3f}",
        kept.worth(result),
        "–" if probe is None else f"{probe['accuracy']:.3f}",
    ]


def page(text: str, folder: Path = RESULTS) -> str:
    """A page's text with the table as it should be.

    Args:
        text: the page.
        folder: the results.
    """
    found = cells(folder)
    block = f"{BEGIN}\n\n{table(found)}\n\n{kept.circumstances([result for _, result in found])}.\n\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
