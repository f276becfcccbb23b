"""The page on few images a class, from results/few-shot."""

import statistics
from typing import Any

import kept

COLUMNS = {
    "reprogrammed": lambda result: result["test"],
    "label map alone": lambda result: result["baselines"]["map_alone"],
    "linear probe": lambda result: result["baselines"]["linear_probe"],
    "net of its own": lambda result: result["baselines"]["direct_training"],
}


def page() -> str:
    """The documentation's page."""
    runs = kept.load("few-shot")
    lines = ["# Few images a class", ""]
    if not runs:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for config, result in runs:
        groups.setdefault((config["task"], config["shots"]), []).append(result)
    rows = [
        [f"`{task}`", shots, *(cell([of(r)["accuracy"] for r in found]) for of in COLUMNS.values()), len(found)]
        for (task, shots), found in sorted(groups.items())
    ]
    config, result = runs[0]
    lines += [
        f"`{config['host']}`, recipe `best`, {config['images']:,} images seen, repetitions counted. The seed chooses",
        "the images to learn from, and as many a class to validate with. Test accuracy, mean of the seeds and range;",
        f"n = {result['test']['n']:,} test images each. The linear probe reads what the host computes from",
        "the task image over its whole input; the net of its own is a small convolutional one without any host. Files,",
        f"grid and commands are in `results/few-shot/`. {kept.circumstances([result for _, result in runs])}.",
        "",
        kept.table(["task", "images a class", *COLUMNS, "seeds"], rows),
        "",
    ]
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """Mean and range."""
    mean = f"**{statistics.mean(values):.3f}**"
    return f"{mean} ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else mean
