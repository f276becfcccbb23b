"""What was tried, from results/ablation and results/window; `docs/_ext/kept.py` keeps new results there."""

import statistics
from typing import Any

import kept
import results_rows

SHOWN = ("label_map", "program", "learner", "augmentation", "batch_size", "loss")
SHOWN_WINDOWS = ("task", "canvas", "program")
HEAD = ("test accuracy", "worth", "seeds", "n each", "seconds")


def table(runs: list[kept.Run], shown: tuple[str, ...] = SHOWN) -> str:
    """A row for what was varied, its seeds pooled; the best first."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for config, result in runs:
        groups.setdefault(tuple(config.get(name, "none") for name in shown), []).append(result)
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
        worths = [kept.worth(result) for result in results]
        worth = worths[0] if len(set(worths)) == 1 else "; ".join(worths)
        rows.append((mean, [*map(str, varied), text, worth, len(results), results[0]["test"]["n"], f"{seconds:.0f}"]))
    head = [*(name.replace("_", " ") for name in shown), *HEAD]
    return kept.table(head, [row for _, row in sorted(rows, key=lambda row: -row[0])])


def page() -> str:
    """The documentation's page."""
    runs = kept.load("ablation")
    lines = [
        "# What makes the difference",
        "",
        "Each row of a table is the same task and budget with other parts, one thread. The files are in",
        "`results/ablation/`, with grid and commands. The machine did other work too, so seconds are only a hint, and",
        "so is a row with one seed. *Worth* is the accuracy minus that of the label map alone, a dash where that",
        f"wasn't measured. {kept.circumstances([result for _, result in runs])}.",
        "",
    ]
    alike = [tuple(config[part] for part in ("task", "host", "canvas", "images")) for config, _ in runs]
    for setting in sorted(set(alike)):
        here = [run for run, its in zip(runs, alike, strict=True) if its == setting]
        task, host, canvas, images = setting
        chance = here[0][1]["baselines"]["chance"]["accuracy"]
        lines += [
            f"## `{task}` on `{host}`, {images:,} training images",
            "",
            f"Canvas `{canvas}`, chance {chance:.2f}.",
            "",
            table(here),
            "",
        ]
    return "\n".join([*lines, *windows()])


def windows() -> list[str]:
    """The lines on the size of the window."""
    runs = kept.load("window")
    config = runs[0][0]
    lines = [
        "## How large the task image is shown",
        "",
        "The longer side of the task image in pixels, of 224; `centre` is its own size (28 and 36). Label map",
        f"`linear`, `{config['host']}`, {config['images']:,} training images, one seed; seconds with validation. The",
        "files are in `results/window/`. The larger the window, the less the batch shares, and the more the host sees:",
        "digits gain, small squares don't. With the program `none` the label map learns, and it alone.",
        "",
    ]
    others = [run for run in runs if run[0]["label_map"] != "linear"]
    for task in sorted({config["task"] for config, _ in runs}):
        own = [run for run in runs if run[0]["task"] == task and run not in others]
        lines += [table(own, SHOWN_WINDOWS), ""] if own else []
    lines += ["With the first ten labels, in batches of one image a class, one seed:", ""]
    rows = [
        [
            results_rows.host_name(c["host"]),
            c["task"],
            f"`{c['canvas']}`",
            f"{c['images']:,}",
            _accuracy(r),
            kept.worth(r),
        ]
        for c, r in others
    ]
    return [*lines, kept.table(["host", "task", "canvas", "images", "test accuracy", "worth"], rows), ""]


def _accuracy(result: dict[str, Any]) -> str:
    """A test accuracy with its interval."""
    test = result["test"]
    return f"**{test['accuracy']:.3f}** ({test['interval'][0]:.3f} to {test['interval'][1]:.3f}, n = {test['n']:,})"
