"""The page on few images a class, from results/few-shot; `docs/_ext/kept.py` keeps new results there."""

import statistics
from typing import Any

import kept

HEAD = [
    "images a class",
    "`best`",
    "`best`, shifted",
    "`best` without a program",
    "worth of the program",
    "linear probe",
    "trained from scratch",
    "from scratch, shifted",
    "seeds",
    "n each",
]


def page() -> str:
    """The documentation's page."""
    runs = kept.load("few-shot")
    lines = ["# Few images a class", ""]
    if not runs:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    config, result = runs[0]
    direct = (result["baselines"].get("direct_training") for _, result in runs)
    scratch = next(one["images_seen"] for one in direct if one)
    lines += [
        f"Test accuracy on `{config['task']}`, host `{config['host']}`, chance "
        f"{result['baselines']['chance']['accuracy']:.2f}: mean among seeds, lowest and highest in brackets. The label",
        f"map of `best` was `{config['label_map']}` in these runs. Each seed",
        "draws other images, and validates with as many. The linear probe reads the host's last layer, on the task",
        "image enlarged to the whole input; the network trained from scratch is a small conv net that sees more",
        f"images ({scratch:,}, repeated). {{doc}}`../evidence` describes both.",
        "*Worth*: the accuracy of `best` minus that of its label map alone, on the same images. *Shifted*: each time",
        "an image is seen it moves by up to two pixels (`--augmentation shift`).",
        "",
        "    reprogram sweep results/few-shot/grid.toml --out runs/few-shot --workers 1 --threads 1",
        "    python docs/_ext/kept.py few-shot runs/few-shot",
        "",
        kept.table(HEAD, [row(shots, runs) for shots in sorted({config["shots"] for config, _ in runs})]),
        "",
        f"{kept.circumstances([result for _, result in runs])}.",
        "",
    ]
    return "\n".join(lines)


def row(shots: int, runs: list[kept.Run]) -> list[str]:
    """A line of the table."""
    here = [run for run in runs if run[0]["shots"] == shots]
    groups: dict[str, list[dict[str, Any]]] = {"shift": [], "none": [], "alone": []}
    for config, result in here:
        groups["alone" if config["program"] == "none" else config.get("augmentation", "none")].append(result)
    learned, shifted = groups["none"], groups["shift"]
    return [
        str(shots),
        *(spread([result["test"] for result in groups[name]]) for name in ("none", "shift", "alone")),
        worth(learned),
        *(
            spread([result["baselines"].get(name) for result in learned])
            for name in ("linear_probe", "direct_training")
        ),
        spread([result["baselines"].get("direct_training") for result in shifted]),
        str(len(learned)),
        f"{learned[0]['test']['n']:,}" if learned else "–",
    ]


def worth(learned: list[dict[str, Any]]) -> str:
    """Mean and range among seeds of the accuracy minus that of the label map alone."""
    alone = [(result["test"], result["baselines"].get("map_alone")) for result in learned]
    gains = [test["accuracy"] - one["accuracy"] for test, one in alone if one]
    return f"{statistics.mean(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})" if gains else "–"


def spread(measured: list[Any]) -> str:
    """Mean and range."""
    reached = [one["accuracy"] for one in measured if one]
    if not reached:
        return "–"
    return f"**{statistics.mean(reached):.3f}** ({min(reached):.3f} to {max(reached):.3f})"
