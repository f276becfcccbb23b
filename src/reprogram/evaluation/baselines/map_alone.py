"""Label map alone, no program."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from reprogram.evaluation.baselines._learned_map import learn_map
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict
from reprogram.labelmaps._calibration import calibration_images, fit_without_program, num_fit_images
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Task

ALONE_IMAGES = 10_000
"""The most training images that a label map without a program is fitted to."""
MOST_SCORES = 2**26
"""The most host scores that a map is learned from without a program, which are kept in memory: 256 MiB."""


class MapAlone(Baseline):
    """The run's canvas, host and label map without its program; a budget of queries is all there for the map.

    A map that is fitted is fitted anew, and one that is learned together with the program is learned anew.
    """

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that fit the map, and the test images."""
        images = self._num_asked(run) + len(run.task.test)
        return Asks(images=images, ask=lambda batch: run.model.host(run.model.canvas(batch)))

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        scores = map_alone_scores(run.model, run.task, run.images_seen, queries=run.queries)
        run.predictions["map_alone"] = scores.argmax(dim=1)
        learned = learned_with_program(run.model)
        count = {"train_images": self._num_asked(run)} if learned else {}
        return score(scores, run.task.test.labels).to_json() | count

    def _num_asked(self, run: BaselineInput) -> int:
        """The training images that fit or teach the map."""
        if learned_with_program(run.model):
            return _num_learned_from(run.model, run.task, run.images_seen, run.queries)
        least = min(run.images_seen, ALONE_IMAGES)
        return num_fit_images(run.model.label_map, len(run.task.train), least, queries=run.queries)


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

    Where the model's has columns for each of a program's views, it is one that has them once. If gradients learned the
    map, or the host has too few labels for that, it is the model's own, and each view is the image without a program.
    """
    label_map, labels = model.label_map, model.host.info.num_classes
    if model.program.num_groups == 1 or _is_learned(label_map) or labels < label_map.num_task_labels:
        return label_map, model.program.num_groups
    return _new_map(model)


def _new_map(model: Reprogrammed) -> tuple[LabelMap, int]:
    """A label map of the model's kind as it is before it is fitted or learned, and how often it takes the scores.

    Once, also for programs of several views, but for hosts that have too few labels for that.
    """
    label_map, names = model.label_map, tuple(map(model.host.info.label, range(model.host.info.num_classes)))
    times = 1 if len(names) >= label_map.num_task_labels else model.program.num_groups
    num_host_labels, num_task_labels = len(names) * times, label_map.num_task_labels
    twin = type(label_map)(label_map.config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
    twin.initialize(names * times, model.task.classes)
    twin.different_images = label_map.different_images
    return twin.to(model.canvas.frame.device), times


def _is_learned(label_map: LabelMap) -> bool:
    """Whether gradients learn a map, which then isn't fitted to answers again."""
    return label_map.refit_schedule in ("never", "once") and next(label_map.parameters(), None) is not None


def learned_with_program(model: Reprogrammed) -> bool:
    """Whether gradients learned a model's label map together with its program, so that it suits that program alone.

    Args:
        model: the model.
    """
    return _is_learned(model.label_map) and any(parameter.requires_grad for parameter in model.program.parameters())


def _num_learned_from(model: Reprogrammed, task: Task, images_seen: int, queries: int | None) -> int:
    """The number of training images whose scores a map is learned from without a program."""
    most = min(ALONE_IMAGES, MOST_SCORES // model.host.info.num_classes, len(task.train))
    return min(most, queries if queries is not None else images_seen or most)


def map_alone_scores(
    model: Reprogrammed, task: Task, images_seen: int = 0, *, queries: int | None = None
) -> Float[Tensor, "n k"]:
    """The task scores of the same canvas, host and label map without a program, for every test image.

    A map that is fitted to the host's scores is fitted to the scores without a program. A map that is refitted at
    every step gets as many images as the program had, but not more than `ALONE_IMAGES`. A map that gradients learned
    together with the program is learned anew, from the scores of as many images and by as many repeats.

    Args:
        model: the run's model; it isn't changed.
        task: the run's task; its training images fit the map, its test split measures it.
        images_seen: training images that the program learned from, repeats counted.
        queries: the run's budget; a map that is fitted gets as many different training images. None for no budget.

    Returns:
        n × k scores (logits), on the CPU.
    """
    learns = learned_with_program(model)
    one_view, times = _new_map(model) if learns else _of_one_view(model)

    def host_scores(images: Tensor) -> Tensor:
        scores: Tensor = model.host(model.canvas(images))
        return scores.repeat(1, times)

    device = model.canvas.frame.device
    if learns:
        some = calibration_images(task.train, 0, _num_learned_from(model, task, images_seen, queries))
        scores = predict(lambda images: host_scores(images.to(device)), some)
        label_map = learn_map(one_view, scores, some.labels.cpu(), images_seen).to(device)
    else:
        count = min(images_seen, ALONE_IMAGES)
        label_map = fit_without_program(one_view, host_scores, task.train.to(device), images=count, queries=queries)
    return predict(lambda images: label_map(host_scores(images.to(device))), task.test)
