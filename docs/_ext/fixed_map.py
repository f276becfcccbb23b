"""The page of long runs with the host's first ten labels, from results/fixed-map; `docs/_ext/kept.py` keeps them."""

import re
from typing import Any

import kept

PAPERS_LOWEST = {"squares": 0.9763, "mnist": 0.9496, "cifar10-jpeg": 0.5858}
"""Table 1 of the paper: the lowest accuracy of its six trained hosts; CIFAR-10 there isn't compressed."""

HOSTS = {
    "efficientnet-lite0": "EfficientNet-Lite0",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "squeezenet": "SqueezeNet 1.0",
    "mobilenetv2": "MobileNetV2",
}
"""How a host is called, by what its spec holds."""

HEAD = ["task", "host", "images", "test accuracy", "95 % interval", "by the top label alone", "map alone", "worth"]
HEAD += ["linear probe", "the paper's lowest"]


def page() -> str:
    """The documentation's page."""
    runs = sorted(kept.load("fixed-map"), key=lambda run: (list(PAPERS_LOWEST).index(task_of(run[1])), run[0]["host"]))
    lines = ["# A fixed map, with more images", ""]
    if not runs:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    lines += [
        "The paper's attack: the host's first ten labels, fixed beforehand, the task image at its own size in the",
        "centre, a learned frame around it, the paper's loss over all labels and its penalty. Complete training",
        "sets, seed 0, one thread; validation chose the program, the test split was looked at once, in float32.",
        "*Map alone* is the same without the frame, *worth* the paired difference with its 95 % interval. The",
        "probe reads the host's last layer for the task image enlarged to the whole input, which no program sees.",
        "`cifar10-jpeg` is CIFAR-10 after JPEG compression; {doc}`../paper` describes hosts and tasks. The paper's",
        "runs had 3 to 30 million images.",
        "",
        kept.table(HEAD, [row(*run) for run in runs]),
        "",
        "    reprogram paper table1 --preset results/fixed-map/preset.toml --threads 1 --out runs/fixed-map",
        "    python docs/_ext/kept.py fixed-map runs/fixed-map/runs",
        "",
        f"{kept.circumstances([result for _, result in runs])}.",
        "",
    ]
    return "\n".join(lines)


def row(config: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """A line of the table."""
    low, high = result["test"]["interval"]
    probe = result["baselines"].get("linear_probe")
    task = task_of(result)
    return [
        f"`{task}`",
        next(name for part, name in HOSTS.items() if part in str(config["host"])),
        f"{result['images_seen']:,}",
        f"**{result['test']['accuracy']:.4f}**",
        f"{low:.4f} to {high:.4f} (n = {result['test']['n']:,})",
        kept.top_label(result),
        f"{result['baselines']['map_alone']['accuracy']:.3f}",
        kept.worth(result),
        "–" if probe is None else f"{probe['accuracy']:.3f}",
        f"{PAPERS_LOWEST[task]:.4f}",
    ]


def task_of(result: dict[str, Any]) -> str:
    """The short name of a run's task."""
    return re.split(r"[(?]", str(result["task"]).removeprefix("arrays:"))[0]
