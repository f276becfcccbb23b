"""Label map alone, no program."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict
from reprogram.labelmaps._calibration import fit_without_program, num_fit_images
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Task

ALONE_IMAGES = 10_000
"""The most training images that a label map without a program is fitted to."""


class MapAlone(Baseline):
    """The run's canvas, host and label map without its program; a budget of queries is all there for the map."""

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that fit the map, and the test images."""
        least = min(run.images_seen, ALONE_IMAGES)
        fitted = num_fit_images(run.model.label_map, len(run.task.train), least, queries=run.queries)
        images = fitted + len(run.task.test)
        return Asks(images=images, ask=lambda batch: run.model.host(run.model.canvas(batch)))

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        scores = map_alone_scores(run.model, run.task, run.images_seen, queries=run.queries)
        run.predictions["map_alone"] = scores.argmax(dim=1)
        return score(scores, run.task.test.labels).to_json()


def label_map_alone(model: Reprogrammed, task: Task, images_seen: int = 0) -> dict[str, Any]:
    """The accuracy of the same canvas, host and label map without a program.

    Args:
        model: the run's model; it isn't changed.
        task: the run's task.
        images_seen: training images that the program learned from, as in `map_alone_scores`.

    Returns:
        The fields `accuracy`, `n` and `interval` of a result.
    """
    return score(map_alone_scores(model, task, images_seen), task.test.labels).to_json()


def _of_one_view(model: Reprogrammed) -> tuple[LabelMap, int]:
    """A label map like the model's for the host's scores of one image, and how many times it takes them.

    Where the model's has columns for each of a program's views, it is one that has them once. If gradients learn the
    map, or the host has too few labels for that, it is the model's own, and each view is the image without a program.
    """
    label_map, labels = model.label_map, model.host.info.num_classes
    fitted_again = label_map.refit_schedule in ("steps", "epochs")
    learned = not fitted_again and next(label_map.parameters(), None) is not None
    if model.program.num_groups == 1 or learned or labels < label_map.num_task_labels:
        return label_map, model.program.num_groups
    twin = type(label_map)(label_map.config, num_host_labels=labels, num_task_labels=label_map.num_task_labels)
    twin.initialize(tuple(map(model.host.info.label, range(labels))), model.task.classes)
    twin.different_images = label_map.different_images
    return twin.to(model.canvas.frame.device), 1


def map_alone_scores(
    model: Reprogrammed, task: Task, images_seen: int = 0, *, queries: int | None = None
) -> Float[Tensor, "n k"]:
    """The task scores of the same canvas, host and label map without a program, for every test image.

    A map that is fitted to the host's scores is fitted to the scores without a program. A map that is refitted at
    every step gets as many images as the program had, but not more than `ALONE_IMAGES`.

    Args:
        model: the run's model; it isn't changed.
        task: the run's task; its training images fit the map, its test split measures it.
        images_seen: training images that the program learned from, repeats counted.
        queries: the run's budget; a map that is fitted gets as many different training images. None for no budget.

    Returns:
        n × k scores (logits), on the CPU.
    """
    one_view, times = _of_one_view(model)

    def host_scores(images: Tensor) -> Tensor:
        scores: Tensor = model.host(model.canvas(images))
        return scores.repeat(1, times)

    device = model.canvas.frame.device
    label_map = fit_without_program(
        one_view,
        host_scores,
        task.train.to(device),
        images=min(images_seen, ALONE_IMAGES),
        queries=queries,
    )
    return predict(lambda images: label_map(host_scores(images.to(device))), task.test)
