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

SHUFFLED_HEAD = ["task", "host", "seed", "images", "pixels as they are", "shuffled", "difference"]
SHUFFLED_HEAD += ["worth of the program, shuffled"]
PAPERS_PAIR = ("mnist", "shuffled mnist")

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


Pair = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""A run with shuffled pixels: its place in the plan, the result of the run with the pixels as they are, and its own."""


def pairs(folder: Path = RESULTS) -> list[Pair]:
    """The runs with shuffled pixels that are finished, and so are those without; by task, the best first."""
    path = folder / "plans" / "shuffled.json"
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for planned in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
        result = folder / "runs" / planned["run"] / "result.json"
        if result.exists():
            cell = found.setdefault((planned["task"], planned["host"], planned["seed"]), {"planned": planned})
            cell[planned["axis"]["pixels"]] = json.loads(result.read_text(encoding="utf-8"))
    whole = [(c["planned"], c["as they are"], c["shuffled"]) for c in found.values() if len(c) == 3]
    tasks = list(TASKS)
    return sorted(whole, key=lambda pair: (tasks.index(pair[0]["task"]), -pair[2]["test"]["accuracy"]))


def shuffled(found: list[Pair]) -> str:
    """A line for each pair, after one that says what the paper's hosts reach, which it tells of MNIST alone."""
    columns = [[of_host[name] for of_host in TABLE1.values() if PAPERS_PAIR[1] in of_host] for name in PAPERS_PAIR]
    theirs = [f"*{min(column):.4f} to {max(column):.4f}*" for column in columns]
    rows: list[list[Any]] = [[TASKS["mnist"], f"*the paper's {len(columns[1])}* {MARK}", "", "", *theirs, "", ""]]
    for planned, plain, mixed in found:
        accuracies = [
            f"{test['accuracy']:.4f} ({test['interval'][0]:.4f} to {test['interval'][1]:.4f})"
            for test in (plain["test"], mixed["test"])
        ]
        lost = f"{mixed['test']['accuracy'] - plain['test']['accuracy']:+.4f}"
        place = [TASKS[planned["task"]], planned["host"], planned["seed"], f"{mixed['images_seen']:,}"]
        rows.append([*place, *accuracies, lost, kept.worth(mixed)])
    return kept.table(SHUFFLED_HEAD, rows)


def page(text: str, folder: Path = RESULTS) -> str:
    """A page's text with the tables as they should be.

    Args:
        text: the page.
        folder: the results.
    """
    found, mixed = cells(folder), pairs(folder)
    results = [result for _, result in found] + [result for _, _, result in mixed]
    block = f"{BEGIN}\n\n{table(found)}\n\n{kept.circumstances(results)}.\n\n"
    if mixed:
        counts = sorted({result["test"]["n"] for _, _, result in mixed})
        size = " or ".join(f"{count:,}" for count in counts)
        block += (
            f"The same with one fixed permutation of the task image's pixels (n = {size}):\n\n{shuffled(mixed)}\n\n"
        )
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block + END, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
