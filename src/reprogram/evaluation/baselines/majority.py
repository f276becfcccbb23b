"""Always the most frequent class."""

from typing import Any

import torch

from reprogram.evaluation.baselines.base import Baseline, BaselineInput
from reprogram.evaluation.metrics import Evaluation
from reprogram.tasks.base import Task


class Majority(Baseline):
    """The most frequent class of the training images, for every test image."""

    always = True

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        return majority(run.task)


def majority(task: Task) -> dict[str, Any]:
    """The accuracy of always answering the most frequent class of the training images.

    Args:
        task: the task.

    Returns:
        The fields `accuracy`, `n`, `interval` and `class` of a result.
    """
    label = int(torch.bincount(task.train.labels, minlength=task.num_classes).argmax())
    correct = int((task.test.labels == label).sum())
    result = Evaluation(n=len(task.test), correct=correct, loss=float("nan")).to_json()
    return {**result, "class": task.class_names[label]}
