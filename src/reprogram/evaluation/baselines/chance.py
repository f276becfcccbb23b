"""Chance."""

from typing import Any

from reprogram.evaluation.baselines.base import Baseline, BaselineInput
from reprogram.tasks.base import Task


class Chance(Baseline):
    """Guessing uniformly: 1 / k."""

    always = True

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        return chance(run.task)


def chance(task: Task) -> dict[str, Any]:
    """The accuracy of guessing uniformly, 1 / k.

    Args:
        task: a task of k classes.

    Returns:
        The field `accuracy` of a result.
    """
    return {"accuracy": 1 / task.num_classes}
