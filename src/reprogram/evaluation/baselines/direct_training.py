"""A small net trained on the task itself, no host."""

from typing import Any

from reprogram.evaluation import from_scratch
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.tasks.base import Task

DIRECT_PASSES = 10
"""The fewest passes of the net over the training images."""

DIRECT_IMAGES = 12_800
"""The fewest images that the net sees, repeats counted."""


class DirectTraining(Baseline):
    """A small convolutional net that learns the task without any host."""

    def asks(self, run: BaselineInput) -> Asks:
        """The host is asked nothing; see `Baseline.asks`."""
        images = _images(run.task, run.images_seen)
        return Asks(images=0, ask=None, apart=lambda: from_scratch.expected_seconds(run.task, "convolutional", images))

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        return direct_training(run.task, run.images_seen, seed=run.seed, augmentation=run.augmentation)


def direct_training(task: Task, images_seen: int, *, seed: int = 0, augmentation: str = "none") -> dict[str, Any]:
    """A small convolutional net trained on the task itself, without any host.

    Args:
        task: the task; the validation split selects the net's state, the test split is looked at once.
        images_seen: training images that the program learned from. The net sees as many, or `DIRECT_PASSES` times all
            training images, or `DIRECT_IMAGES`, whichever is the most; it costs little.
        seed: decides start values and the order of the images.
        augmentation: the spec of how the training images vary.

    Returns:
        The fields `accuracy`, `n`, `interval` and `images_seen` of a result.
    """
    images = _images(task, images_seen)
    result = from_scratch.train(task, "convolutional", images, seed=seed, augmentation=augmentation)
    return {**result.to_json(), "images_seen": images}


def _images(task: Task, images_seen: int) -> int:
    """How many training images the net sees, repeats counted, where the program saw `images_seen`."""
    return max(images_seen, DIRECT_PASSES * len(task.train), DIRECT_IMAGES)
