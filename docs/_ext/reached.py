"""The page of single runs with larger budgets, from results/reached; `docs/_ext/kept.py` keeps new results there."""

from typing import Any

import kept

HEAD = ["task", "host", "canvas", "label map", "images", "test accuracy", "95 % interval", "map alone", "worth"]
HEAD += ["linear probe"]
PUBLISHED = [
    ["MNIST", "ResNet-18, border", "–", ".9681", "rajatvd/AdversarialReprogramming, README"],
    ["MNIST", "ResNet-18, full canvas", "–", ".9787", "the same, 15 epochs"],
    ["CIFAR-10", "ResNet-18, border", "iterative", ".655", "ILM-VP as re-run in SMM, arXiv 2406.03150"],
    ["CIFAR-10", "ResNet-18, SMM", "iterative", ".728", "SMM, arXiv 2406.03150"],
]
"""What peers published: task, host and program, label map, accuracy, source."""


def page() -> str:
    """The documentation's page."""
    runs = kept.load("reached")
    lines = ["# How far it gets", ""]
    if not runs:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    lines += [
        "Single runs with the recipe `best`, complete training sets, one seed, one thread. Validation chose the",
        "program, the test split was looked at once. *Map alone* is the same label map without the program, fitted",
        "to as many images as the program saw, 10,000 at the most; *worth* is the difference. The map does most of the",
        "work here; the paper's attack is another one ({doc}`paper`). The label map isn't learned by gradient: it is",
        "a closed formula of the host's scores, refitted while the program is learned ({doc}`label-maps`). But it",
        "is a matrix over all of the host's scores, as BLM's is, and so is stronger than one host label a class.",
        "`cifar10-jpeg` is CIFAR-10 after JPEG compression. The hosts were quantised and decoded again:",
        "`results/paper/README.md`.",
        "A run with `--start` begins with the program of another run, and fits the map to more images with it: that of",
        "`r18-mnist` here, and for ResNet-50 (`r50-stage1`) one that was learned from 14,400 images by",
        "`reprogram fit --host ... --task mnist --images 14400`, taken from its checkpoint without a look at the",
        "test split.",
        "",
        kept.table(HEAD, [row(*run) for run in runs]),
        "",
        "What peers published for the same tasks, with their own splits, most choosing the epoch on the test set:",
        "",
        kept.table(["task", "host and program", "label map", "test accuracy", "source"], PUBLISHED),
        "",
        "Each run's command; the options of `best` were the defaults then, so add `--recipe best` today:",
        "",
        *(f"    {result['command']}" for _, result in runs),
        "",
        f"{kept.circumstances([result for _, result in runs])}.",
        "",
    ]
    return "\n".join(lines)


def row(config: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """A line of the table."""
    low, high = result["test"]["interval"]
    alone, probe = (result["baselines"].get(name) for name in ("map_alone", "linear_probe"))
    return [
        f"`{result['task']}`",
        f"`{str(config['host']).partition('?')[0].rpartition('/')[2].removesuffix('.safetensors')}`",
        f"`{config['canvas']}`",
        f"`{config['label_map']}`",
        f"{result['images_seen']:,}",
        f"**{result['test']['accuracy']:.4f}**",
        f"{low:.4f} to {high:.4f} (n = {result['test']['n']:,})",
        "–" if alone is None else f"{alone['accuracy']:.4f}",
        kept.worth(result),
        "–" if probe is None else f"{probe['accuracy']:.4f}",
    ]
