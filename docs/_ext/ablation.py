"""The ablation's page, from results/ablation; `python docs/_ext/kept.py ablation runs/ablation` keeps new results."""

import statistics
from typing import Any

import kept

SHOWN = ("label_map", "program", "learner", "batch_size", "loss")
HEAD = (*(name.replace("_", " ") for name in SHOWN), "test accuracy", "seeds", "n each", "seconds")


def table(runs: list[kept.Run]) -> str:
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
    return kept.table(list(HEAD), [row for _, row in sorted(rows, key=lambda row: -row[0])])


def page() -> str:
    """The documentation's page."""
    runs = kept.load("ablation")
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
