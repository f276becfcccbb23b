"""The tables of docs/paper.md of its main experiment: trained hosts beside the paper's, and the same host untrained.

`python docs/_ext/paper_level.py` writes them.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import kept

from reprogram.paper.published import MARK, TABLE1, published_task

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "paper.md"
RESULTS = ROOT / "results" / "paper"
VARIANTS = ROOT / "results" / "paper-variants"
"""Runs of the first table's tasks by other recipes, which the page shows among its runs."""
BEGIN, END = "<!-- level: written by make results -->", "<!-- end of level -->"
UNTRAINED_BEGIN, UNTRAINED_END = "<!-- untrained: written by make results -->", "<!-- end of untrained -->"

TASKS = {"squares": "counting", "mnist": "MNIST", "cifar10-jpeg": "CIFAR-10 after JPEG"}
HEAD = ["task", "host", "seed", "images", "batch", "by the top label alone", "95 % interval", "map alone"]
HEAD += ["worth of the program", "linear probe"]

SHUFFLED_HEAD = ["task", "host", "seed", "images", "pixels as they are", "shuffled", "difference"]
SHUFFLED_HEAD += ["worth of the program, shuffled"]
SHUFFLED, CENTRED = "shuffled(", "centre("
"""How the spec of a canvas begins that permutes the task image's pixels, and of one that leaves them."""
RECIPE = ["task", "host_fingerprint", "seed", "images_seen", "canvas", "program", "label_map", "learner", "batch_size"]
RECIPE += ["augmentation", "loss"]
"""What of a result was chosen, and not measured."""
PAPERS_PAIR = ("mnist", "shuffled mnist")
UNTRAINED_HEAD = ["task", "host", "weights", "images", "by the map's labels", "by the top label alone", "map alone"]
UNTRAINED_HEAD += ["worth of the program"]
WEIGHTS = {"as given": "trained", "untrained": "random"}
WEIGHTS["untrained, BatchNorm conditioned"] = "random, BatchNorm conditioned on one batch"
"""How the page calls each state of the plan."""

Cell = tuple[dict[str, Any], dict[str, Any]]
"""A run's place in the plan, and its result."""


def finished(folder: Path) -> list[Cell]:
    """The finished runs of the first table; their place also says the specs of task and canvas, as `spec`, `canvas`."""
    found = []
    for planned in json.loads((folder / "plans" / "table1.json").read_text(encoding="utf-8")):
        path = folder / "runs" / planned["run"] / "result.json"
        if path.exists():
            config = tomllib.loads(path.with_name("config.toml").read_text(encoding="utf-8"))["fit"]
            place = {**planned, "spec": config["task"], "canvas": config["canvas"]}
            found.append((place, json.loads(path.read_text(encoding="utf-8"))))
    return found


def cells(*folders: Path) -> list[Cell]:
    """The finished runs on trained hosts with the pixels as they are, by task, the best first."""
    found = [cell for folder in folders for cell in finished(folder) if not cell[0]["canvas"].startswith(SHUFFLED)]
    trained = [cell for cell in found if cell[0]["axis"]["state"] == "as given"]
    tasks = list(TASKS)
    return sorted(trained, key=lambda cell: (tasks.index(cell[0]["task"]), -cell[1]["test"]["accuracy"]))


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
    usual = {"augmentation": ("none",), "program": ("frame",), "canvas": ("centre", "centre(size=36)")}
    marks = [result[name] for name, values in usual.items() if result.get(name, "none") not in values]
    marks += ["shared"] if "arrangements='shared'" in planned["spec"] else []
    varied = "".join(f", `{mark}`" for mark in marks)
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


def pairs(folder: Path = RESULTS, variants: Path = VARIANTS) -> list[Pair]:
    """The runs with shuffled pixels that are finished, and so are those without; by task, the best first.

    A run by another recipe has beside it the run by that recipe where there is one, else the run of the preset.
    """
    path = folder / "plans" / "shuffled.json"
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for planned in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
        result = folder / "runs" / planned["run"] / "result.json"
        if result.exists():
            cell = found.setdefault((planned["task"], planned["host"], planned["seed"]), {"planned": planned})
            cell[planned["axis"]["pixels"]] = json.loads(result.read_text(encoding="utf-8"))
    whole = [(c["planned"], c["as they are"], c["shuffled"]) for c in found.values() if len(c) == 3]
    others = finished(variants)
    for planned, result in others:
        if planned["canvas"].startswith(SHUFFLED):
            plain = found[planned["task"], planned["host"], planned["seed"]]["as they are"]
            whole.append((planned, next((r for _, r in others if _same_but_pixels(r, result)), plain), result))
    tasks = list(TASKS)
    return sorted(whole, key=lambda pair: (tasks.index(pair[0]["task"]), -pair[2]["test"]["accuracy"]))


def _same_but_pixels(plain: dict[str, Any], mixed: dict[str, Any]) -> bool:
    """Whether one result differs from the other by nothing that was chosen but that its pixels aren't shuffled."""
    centred = {**mixed, "canvas": mixed["canvas"].replace(SHUFFLED, CENTRED)}
    return all(plain[name] == centred[name] for name in RECIPE)


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
        if plain["images_seen"] != mixed["images_seen"]:
            accuracies[0] += f", after {plain['images_seen']:,} images"
        lost = f"{mixed['test']['accuracy'] - plain['test']['accuracy']:+.4f}"
        place = [TASKS[planned["task"]], planned["host"], planned["seed"], f"{mixed['images_seen']:,}"]
        rows.append([*place, *accuracies, lost, kept.worth(mixed)])
    return kept.table(SHUFFLED_HEAD, rows)


def untrained(folder: Path = RESULTS) -> str:
    """A line for each kind of weights of the hosts that were run untrained too, with the same seed."""
    found = finished(folder)
    twins = {(p["task"], p["host"], p["seed"]) for p, _ in found if p["axis"]["state"] != "as given"}
    rows = []
    for planned, result in found:
        if (planned["task"], planned["host"], planned["seed"]) in twins:
            place = list(TASKS).index(planned["task"]), planned["host"], list(WEIGHTS).index(planned["axis"]["state"])
            test, (low, high) = result["test"], result["test"]["interval"]
            line = [TASKS[planned["task"]], planned["host"], list(WEIGHTS.values())[place[2]]]
            line += [f"{result['images_seen']:,}"]
            line += [f"**{test['accuracy']:.4f}** ({low:.4f} to {high:.4f}, n = {test['n']:,})"]
            line += [f"{result['host_shows']['top_label']['accuracy']:.4f}"]
            line += [f"{result['baselines']['map_alone']['accuracy']:.3f}", kept.worth(result)]
            rows.append((place, line))
    return kept.table(UNTRAINED_HEAD, [line for _, line in sorted(rows)])


def page(text: str, folder: Path = RESULTS, variants: Path = VARIANTS) -> str:
    """A page's text with the tables as they should be.

    Args:
        text: the page.
        folder: the results.
        variants: the results of other recipes.
    """
    found, mixed = cells(folder, variants), pairs(folder, variants)
    results = [result for _, result in found] + [result for _, _, result in mixed]
    block = f"{BEGIN}\n\n{table(found)}\n\n{kept.circumstances(results)}.\n\n"
    if mixed:
        counts = sorted({result["test"]["n"] for _, _, result in mixed})
        size = " or ".join(f"{count:,}" for count in counts)
        block += (
            f"The same with one fixed permutation of the task image's pixels (n = {size}):\n\n{shuffled(mixed)}\n\n"
        )
    text = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block + END, text, flags=re.S)
    block = f"{UNTRAINED_BEGIN}\n\n{untrained(folder)}\n\n{UNTRAINED_END}"
    return re.sub(f"{re.escape(UNTRAINED_BEGIN)}.*?{re.escape(UNTRAINED_END)}", lambda _: block, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
