"""Small nets that are trained on a task directly, without a host."""

import itertools
import math
import time
from collections.abc import Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.evaluation.metrics import Evaluation, score
from reprogram.evaluation.predict import predict
from reprogram.registry import configure
from reprogram.tasks.base import Task
from reprogram.utils.seeding import epoch_order, seeded

BATCH = 64
LEARNING_RATE = 1e-3
VALIDATIONS = 10


class SmallNet(nn.Module):
    """A small net that takes uint8 task images.

    Args:
        kind: "fully connected" has two hidden layers of 256 units, "convolutional" three 3×3 convolutions with pooling.
        shape: c, h, w of the images, in pixels.
        num_classes: k, the number of the task's classes.
    """

    def __init__(self, kind: str, shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        if kind == "fully connected":
            pixels = channels * height * width
            layers = [nn.Flatten(), nn.Linear(pixels, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
            self.body = nn.Sequential(*layers, nn.Linear(256, num_classes))
        else:
            widths = (channels, 32, 64, 128)
            blocks = [
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
                for a, b in itertools.pairwise(widths)
            ]
            self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(512, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify task images.

        Args:
            images: b × c × h × w, uint8.

        Returns:
            b × k scores (logits).
        """
        scores: torch.Tensor = self.body(images.float() / 127.5 - 1)
        return scores


def train(task: Task, kind: str, images: int, *, seed: int, augmentation: str = "none") -> Evaluation:
    """Train a small net, and measure it once on the test split.

    Args:
        task: the task; its training images are learned from.
        kind: "fully connected" or "convolutional", see `SmallNet`.
        images: training images to see, repeats counted; rounded to whole batches.
        seed: decides start values and the order of the images.
        augmentation: the spec of how the training images vary.

    Returns:
        The selected state's evaluation on the test split.

    Raises:
        ConfigError: the augmentation's spec is wrong.
    """
    net = new_net(task, kind, seed=seed)
    learn(net, task, images, seed=seed, augmentation=augmentation)
    return score(predict(net, task.test), task.test.labels)


def new_net(task: Task, kind: str, *, seed: int) -> SmallNet:
    """A small net with start values.

    Args:
        task: the task that it shall learn.
        kind: "fully connected" or "convolutional", see `SmallNet`.
        seed: decides the start values.
    """
    with seeded(seed):
        return SmallNet(kind, task.image_shape, task.num_classes)


def learn(net: SmallNet, task: Task, images: int, *, seed: int, augmentation: str = "none") -> None:
    """Train a small net by Adam with a cosine schedule; the validation split selects one of ten states of it.

    Args:
        net: the net, which holds the selected state in the end.
        task: the task; its training images are learned from.
        images: training images to see, repeats counted; rounded to whole batches.
        seed: decides the order of the images.
        augmentation: the spec of how the training images vary.

    Raises:
        ConfigError: the augmentation's spec is wrong.
    """
    variant, config = configure("augmentations", augmentation)
    augment = variant(config)
    steps_per_epoch = -(-len(task.train) // BATCH)
    steps = max(round(images / len(task.train) * steps_per_epoch), 1)
    adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    best, best_state = (-1, 0.0), {}
    for step, epoch, rows in _batches(len(task.train), steps, adam):
        if rows.start == 0:
            order = epoch_order(len(task.train), seed, epoch)
            chance = augment.draw(len(task.train), seed, epoch)
        batch = augment.batch(task.train, order[rows], chance)
        adam.zero_grad()
        F.cross_entropy(net(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
        adam.step()
        if (step + 1) % max(steps // VALIDATIONS, 1) == 0 or step + 1 == steps:
            result = score(predict(net, task.validation), task.validation.labels)
            if (result.correct, -result.loss) > best:
                best = (result.correct, -result.loss)
                best_state = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(best_state)


def imitate(images: UInt8[Tensor, "n c h w"], answers: Float[Tensor, "n K"], seen: int, *, seed: int) -> SmallNet:
    """A convolutional net that learns to give a host's answers, by Adam with a cosine schedule.

    Args:
        images: n × c × h × w, uint8.
        answers: n × K probabilities.
        seen: images to see, repeats counted; rounded to whole batches.
        seed: decides start values and the order of the images.

    Returns:
        The net, whose K scores have the least cross-entropy with the answers that it came to.
    """
    channels, height, width = images.shape[1:]
    with seeded(seed):
        net = SmallNet("convolutional", (channels, height, width), answers.shape[1])
    adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    steps = max(round(seen / len(images) * -(-len(images) // BATCH)), 1)
    for _, epoch, rows in _batches(len(images), steps, adam):
        if rows.start == 0:
            order = epoch_order(len(images), seed, epoch)
        some = order[rows]
        adam.zero_grad()
        # -Σ_j p_j log softmax(s)_j, the mean over the batch
        F.cross_entropy(net(images[some]), answers[some]).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return net


def _batches(n: int, steps: int, adam: torch.optim.Adam) -> Iterator[tuple[int, int, slice]]:
    """The number of each step, its epoch and the places of its images in that; the learning rate falls beside."""
    steps_per_epoch = -(-n // BATCH)
    for step in range(steps):
        epoch, position = divmod(step, steps_per_epoch)
        # The learning rate falls from LEARNING_RATE to 0 along half a cosine.
        for group in adam.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        yield step, epoch, slice(position * BATCH, (position + 1) * BATCH)


def expected_seconds(task: Task, kind: str, images: int) -> float:
    """About how many seconds `train` takes, by one step and one prediction of a batch that are timed.

    Args:
        task: as `train` takes it.
        kind: "fully connected" or "convolutional".
        images: training images to see.
    """
    with seeded(0):
        net = SmallNet(kind, task.image_shape, task.num_classes)
    few = task.train.take(torch.arange(min(BATCH, len(task.train))))

    def seconds() -> tuple[float, float]:
        start = time.monotonic()
        predict(net, few)
        between = time.monotonic()
        with torch.enable_grad():
            F.cross_entropy(net(few.images), few.labels).backward()  # type: ignore[no-untyped-call]
        return between - start, time.monotonic() - between

    seconds()  # What is prepared once is prepared here.
    predicting, learning = seconds()
    return (images * learning + (VALIDATIONS * len(task.validation) + len(task.test)) * predicting) / len(few)
