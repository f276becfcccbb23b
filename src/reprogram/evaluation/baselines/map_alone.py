"""Label map alone, no program."""

from typing import Any

from torch import Tensor

from reprogram.evaluation.baselines.base import Baseline, BaselineInput
from reprogram.evaluation.predict import evaluate
from reprogram.labelmaps._calibration import fit_without_program
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Task

ALONE_IMAGES = 10_000
"""The most training images that a label map without a program is fitted to."""


class MapAlone(Baseline):
    """The run's canvas, host and label map without its program."""

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        return label_map_alone(run.model, run.task, run.images_seen)


def label_map_alone(model: Reprogrammed, task: Task, images_seen: int = 0) -> dict[str, Any]:
    """The accuracy of the same canvas, host and label map without a program.

    A map that is fitted to the host's scores is fitted to the scores without a program. A map that is refitted at
    every step gets as many images as the program had, but not more than `ALONE_IMAGES`.

    Args:
        model: the run's model; it isn't changed.
        task: the run's task; its training images fit the map, its test split measures it.
        images_seen: training images that the program learned from, repeats counted.

    Returns:
        The fields `accuracy`, `n` and `interval` of a result.
    """

    def host_scores(images: Tensor) -> Tensor:
        scores: Tensor = model.host(model.canvas(images))
        return scores

    device = model.canvas.frame.device
    label_map = fit_without_program(
        model.label_map, host_scores, task.train.to(device), images=min(images_seen, ALONE_IMAGES)
    )
    return evaluate(lambda images: label_map(host_scores(images.to(device))), task).to_json()
