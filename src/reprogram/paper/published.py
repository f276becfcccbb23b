"""The paper's own numbers, for comparison with ours.

Recalled from the literature and not checked against the paper's text: every place that shows one marks it [M].
"""

import re

MARK = "[M]"
OURS, THEIRS = "here", f"the paper {MARK}"
"""The source of a table's row, in its first column."""
TASKS = ("squares", "mnist", "cifar10")
TABLE1: dict[str, dict[str, float]] = {
    "Inception V3": {
        "squares": 0.9993,
        "mnist": 0.9754,
        "cifar10": 0.6910,
        "shuffled mnist": 0.9709,
        "untrained mnist": 0.4539,
    },
    "Inception V4": {
        "squares": 0.9999,
        "mnist": 0.9646,
        "cifar10": 0.6683,
        "shuffled mnist": 0.9715,
        "untrained mnist": 0.1861,
    },
    "Inception-ResNet V2": {
        "squares": 0.9994,
        "mnist": 0.9744,
        "cifar10": 0.6719,
        "shuffled mnist": 0.9683,
        "untrained mnist": 0.1135,
    },
    "ResNet V2 152": {
        "squares": 0.9763,
        "mnist": 0.9534,
        "cifar10": 0.6210,
        "shuffled mnist": 0.9691,
        "untrained mnist": 0.1032,
    },
    "ResNet V2 101": {
        "squares": 0.9843,
        "mnist": 0.9664,
        "cifar10": 0.6301,
        "shuffled mnist": 0.9678,
        "untrained mnist": 0.1756,
    },
    "ResNet V2 50": {
        "squares": 0.9966,
        "mnist": 0.9496,
        "cifar10": 0.5858,
        "shuffled mnist": 0.9717,
        "untrained mnist": 0.9325,
    },
    "Inception V3, adversarially trained": {"mnist": 0.9761},
}
"""Test accuracy by host and task: Elsayed, Goodfellow and Sohl-Dickstein, 2018, table 1."""


def number(host: str, task: str) -> str:
    """An accuracy of the paper's table 1 as text; a dash where the table has none.

    Args:
        host: a key of `TABLE1`.
        task: the task in that table's row, such as `shuffled mnist`.
    """
    return f"{TABLE1[host][task]:.4f}" if task in TABLE1[host] else "–"


def published_task(task: str) -> str | None:
    """The paper's task of which a task is a version, None where there is none: `mnist-5k` is one of `mnist`.

    Args:
        task: the task's short name.
    """
    return next((name for name in TASKS if re.match(rf"{name}(?![A-Za-z0-9])", task)), None)
