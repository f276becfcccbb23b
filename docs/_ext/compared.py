"""The recipes side by side, from results/recipes; `docs/_ext/kept.py` keeps new results there."""

from dataclasses import asdict
from typing import Any

import kept

from reprogram.runs import recipes
from reprogram.runs.config import from_values

HEAD = ["recipe", "canvas", "program", "label map", "batch", "steps", "test accuracy", "95 % interval", "worth"]
HEAD += ["seconds"]


def page() -> str:
    """The documentation's page."""
    runs = kept.load("recipes")
    lines = ["# The recipes side by side", ""]
    if not runs:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    lines += [
        "Every recipe on the same host, task and number of images, one seed, one thread. The published ones were made",
        "for hundreds of epochs on a GPU: with such budgets, batches of 128 and 256 images leave them few steps,",
        "and that is most of the difference. Their seconds are those of our engine, validation and other work of the",
        "machine included: a hint. {doc}`recipes` says where each comes from and what differs from it here. *Worth* is",
        "the accuracy minus that of the label map alone, a dash where that wasn't measured. In `best` the map does",
        "most of the work: it reads all of the host's scores.",
        "",
        "    reprogram sweep results/recipes/grid.toml --out runs/recipes --workers 1 --threads 1",
        "    python docs/_ext/kept.py recipes runs/recipes",
        "",
    ]
    settings = sorted({(config["host"], config["task"]) for config, _ in runs})
    for host, task in settings:
        here = [run for run in runs if (run[0]["host"], run[0]["task"]) == (host, task)]
        result = here[0][1]
        budget = max(result["images_seen"] for _, result in here)
        lines += [
            f"## `{task}` on `{host}`",
            "",
            f"{budget:,} training images, n = {result['test']['n']:,}, chance "
            f"{result['baselines']['chance']['accuracy']:.2f}, seed {result['seed']}.",
            "",
            kept.table(HEAD, [row(*run) for run in sorted(here, key=lambda run: -run[1]["test"]["accuracy"])]),
            "",
        ]
    lines += [f"{kept.circumstances([result for _, result in runs])}.", ""]
    return "\n".join(lines)


def steps(images: int, train: int, batch: int) -> int:
    """How many batches hold that many images; the last one of each pass over the training images may be smaller."""
    batch = min(batch, train)
    passes, rest = divmod(images, train)
    return passes * -(-train // batch) + -(-rest // batch)


def row(config: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """A line of a table."""
    low, high = result["test"]["interval"]
    return [
        recipes.matching(asdict(from_values(config))) or "–",
        *(str(config[part]) for part in ("canvas", "program", "label_map")),
        str(config["batch_size"]),
        str(steps(result["images_seen"], result["splits"]["train"], config["batch_size"])),
        f"**{result['test']['accuracy']:.3f}**",
        f"{low:.3f} to {high:.3f}",
        kept.worth(result),
        f"{result['seconds']:.0f}",
    ]
