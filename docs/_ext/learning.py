"""The page on learning a fixed label map from fewer images, from results/learning; `kept.py` keeps results there."""

import statistics
from typing import Any

import kept

HEAD = ["sampling", "batch", "learner", "canvas", "program", "augmentation", "loss", "validation", "test"]
HEAD += ["worth of the program", "seeds", "n"]
NAMES = {
    "efficientnet-lite0": "EfficientNet-Lite0",
    "tf_mobilenetv2": "MobileNetV2",
    "resnet18": "ResNet-18",
    "squeezenet1_0": "SqueezeNet",
}

Varied = tuple[str, int, str, str, str, str, str]
"""Sampling, batch, learner, canvas, program, augmentation and loss."""


def page() -> str:
    """The documentation's page."""
    runs = kept.load("learning")
    lines = ["# Fewer images for a fixed label map", ""]
    if not runs:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    lines += [
        "The host's first ten labels, a frame around the task image: mean among seeds, lowest and highest in brackets.",
        "*Validation* is the whole validation split, by which the lines are sorted; it chooses, and the test split was",
        "looked at once in each run. *Worth*: the accuracy minus that of the label map alone on the same images.",
        "`shuffled` with a batch of 16 and a step of 0.05 is what earlier versions did. With 20,000 images, steps of",
        "0.05, the penalty, batches of 20 and 36 pixels are the recipe of [the paper's table](../paper.md).",
        "",
        "    reprogram sweep results/learning/grid.toml --out runs/learning --workers 2 --threads 1",
        "    python docs/_ext/kept.py learning runs/learning",
        "",
    ]
    for host, task in dict.fromkeys((config["host"], config["task"]) for config, _ in runs):
        here = [run for run in runs if (run[0]["host"], run[0]["task"]) == (host, task)]
        name = next((called for part, called in NAMES.items() if part in host), host)
        images = max(result["images_seen"] for _, result in here)
        lines += [f"## {name}, `{task}`, {images:,} training images", "", kept.table(HEAD, rows(here)), ""]
    return "\n".join([*lines, f"{kept.circumstances([result for _, result in runs])}.", ""])


def rows(runs: list[kept.Run]) -> list[list[Any]]:
    """A line for each way to learn, the best on validation first."""
    groups: dict[Varied, list[dict[str, Any]]] = {}
    for config, result in runs:
        varied = config["sampling"], config["batch_size"], config["learner"], config["canvas"], config["program"]
        groups.setdefault((*varied, config["augmentation"], config["loss"]), []).append(result)
    ranked = sorted(groups.items(), key=lambda item: -mean(item[1], "validation"))
    return [
        [
            sampling,
            batch,
            f"`{learner}`",
            f"`{canvas}`",
            f"`{program}`",
            f"`{augmentation}`",
            f"`{loss}`",
            spread([result["validation"]["accuracy"] for result in results]),
            spread([result["test"]["accuracy"] for result in results]),
            f"{statistics.mean(result['program_worth']['difference'] for result in results):+.3f}",
            len(results),
            f"{results[0]['test']['n']:,}",
        ]
        for (sampling, batch, learner, canvas, program, augmentation, loss), results in ranked
    ]


def mean(results: list[dict[str, Any]], split: str) -> float:
    """The mean accuracy on a split."""
    return statistics.mean(result[split]["accuracy"] for result in results)


def spread(values: list[float]) -> str:
    """Mean, lowest and highest."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
