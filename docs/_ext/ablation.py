"""The ablation's page, from results/ablation; `python docs/_ext/ablation.py runs/ablation` keeps new results there."""

import json
import shutil
import statistics
import sys
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "results" / "ablation"
SHOWN = ("label_map", "program", "learner", "batch_size", "loss")
HEAD = (*(name.replace("_", " ") for name in SHOWN), "test accuracy", "seeds", "n each", "seconds")

Run = tuple[dict[str, Any], dict[str, Any]]


def keep(runs: Path) -> int:
    """Copy the result and configuration of each finished run; say how many there are."""
    found = sorted(runs.glob("*/result.json"))
    for result in found:
        shutil.copy(result, FOLDER / f"{result.parent.name}.json")
        shutil.copy(result.parent / "config.toml", FOLDER / f"{result.parent.name}.toml")
    return len(found)


def load() -> list[Run]:
    """Configuration and result of each run."""
    return [
        (
            tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))["fit"],
            json.loads(path.read_text(encoding="utf-8")),
        )
        for path in sorted(FOLDER.glob("*.json"))
    ]


def table(runs: list[Run]) -> str:
    """A row for what was varied, its seeds pooled; the best first."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for config, result in runs:
        groups.setdefault(tuple(config[name] for name in SHOWN), []).append(result)
    rows = []
    for varied, results in groups.items():
        reached = [result["test"]["accuracy"] for result in results]
        mean = statistics.mean(reached)
        if len(results) > 1:
            text = f"**{mean:.3f}** ({min(reached):.3f} to {max(reached):.3f} among seeds)"
        else:
            low, high = results[0]["test"]["interval"]
            text = f"**{mean:.3f}** (95 % interval {low:.3f} to {high:.3f})"
        seconds = statistics.median(result["seconds"] for result in results)
        rows.append((mean, [*map(str, varied), text, len(results), results[0]["test"]["n"], f"{seconds:.0f}"]))
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for _, row in sorted(rows, key=lambda row: -row[0])]
    return "\n".join(lines)


def page() -> str:
    """The documentation's page."""
    runs = load()
    config, result = runs[0]
    machine, versions = result["machine"], result["versions"]
    lines = [
        "# What makes the difference",
        "",
        "Each row is the same task and budget with other parts:",
        f"`{config['task']}` on `{config['host']}`, {config['images']:,} training images, one thread,",
        f"chance {result['baselines']['chance']['accuracy']:.2f}. The files are in `results/ablation/`, with grid and",
        f"commands. {machine['processor']}, torch {versions['torch']}, timm {versions['timm']}; the machine did",
        "other work too, so seconds are only a hint, and so is a row with one seed.",
        "",
        table(runs),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(f"{keep(Path(sys.argv[1]))} runs")
