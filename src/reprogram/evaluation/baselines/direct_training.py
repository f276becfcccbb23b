"""A small net trained on the task itself, no host."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from jaxtyping import Float
from torch import Tensor

from reprogram.evaluation import from_scratch
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict
from reprogram.tasks.base import Task

DIRECT_PASSES = 10
"""The fewest passes of the net over the training images."""

DIRECT_IMAGES = 12_800
"""The fewest images that the net sees, repeats counted."""


_KNOWN: ContextVar[dict[tuple[str, int, int, str], Tensor] | None] = ContextVar("known nets", default=None)


@contextlib.contextmanager
def training_once() -> Iterator[None]:
    """A context in which the same net isn't trained twice: runs of one task and seed on several hosts share it."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


class DirectTraining(Baseline):
    """A small convolutional net that learns the task from all training images, without any host."""

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The host is asked nothing; see `Baseline.asks`."""
        images = num_direct_images(run.task, run.images_seen)
        return Asks(images=0, ask=None, apart=lambda: from_scratch.expected_seconds(run.task, "convolutional", images))

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        scores, images = _scores(run.task, run.images_seen, seed=run.seed, augmentation=run.augmentation)
        run.predictions["direct_training"] = scores.argmax(dim=1)
        return {**score(scores, run.task.test.labels).to_json(), "images_seen": images}


def num_direct_images(task: Task, images_seen: int) -> int:
    """The training images that a net of one's own sees, repeats counted; it costs little.

    Args:
        task: the task.
        images_seen: training images that the program learned from. The net sees as many, or `DIRECT_PASSES` times all
            training images, or `DIRECT_IMAGES`, whichever is the most.
    """
    return max(images_seen, DIRECT_PASSES * len(task.train), DIRECT_IMAGES)


def direct_training(task: Task, images_seen: int, *, seed: int = 0, augmentation: str = "none") -> dict[str, Any]:
    """A small convolutional net trained on the task itself, without any host.

    Args:
        task: the task; the validation split selects the net's state, the test split is looked at once.
        images_seen: training images that the program learned from, as in `num_direct_images`.
        seed: decides start values and the order of the images.
        augmentation: the spec of how the training images vary.

    Returns:
        The fields `accuracy`, `n`, `interval` and `images_seen` of a result.
    """
    scores, images = _scores(task, images_seen, seed=seed, augmentation=augmentation)
    return {**score(scores, task.test.labels).to_json(), "images_seen": images}


def _scores(task: Task, images_seen: int, *, seed: int, augmentation: str) -> tuple[Float[Tensor, "n k"], int]:
    """The trained net's scores of the test images, and the images that it saw."""
    images = num_direct_images(task, images_seen)
    known, key = _KNOWN.get(), (task.fingerprint, images, seed, augmentation)
    if known is not None and key in known:
        return known[key], images
    net = from_scratch.new_net(task, "convolutional", seed=seed)
    from_scratch.learn(net, task, images, seed=seed, augmentation=augmentation)
    scores = predict(net, task.test)
    if known is not None:
        known[key] = scores
    return scores, images
