"""Small nets that are trained on a task directly, without a host."""

import itertools
import math
import time

import torch
from torch import nn
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
    """Train a small net by Adam with a cosine schedule.

    The validation split selects one of ten states of the net; the test split is looked at once.

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
    variant, config = configure("augmentations", augmentation)
    augment = variant(config)
    with seeded(seed):
        net = SmallNet(kind, task.image_shape, task.num_classes)
    adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    steps_per_epoch = -(-len(task.train) // BATCH)
    steps = max(round(images / len(task.train) * steps_per_epoch), 1)
    best, best_state = (-1, 0.0), {}
    for step in range(steps):
        epoch, position = divmod(step, steps_per_epoch)
        if position == 0:
            order = epoch_order(len(task.train), seed, epoch)
            chance = augment.draw(len(task.train), seed, epoch)
        batch = augment.batch(task.train, order[position * BATCH : (position + 1) * BATCH], chance)
        # The learning rate falls from LEARNING_RATE to 0 along half a cosine.
        for group in adam.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        adam.zero_grad()
        F.cross_entropy(net(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
        adam.step()
        if (step + 1) % max(steps // VALIDATIONS, 1) == 0 or step + 1 == steps:
            result = score(predict(net, task.validation), task.validation.labels)
            if (result.correct, -result.loss) > best:
                best = (result.correct, -result.loss)
                best_state = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(best_state)
    return score(predict(net, task.test), task.test.labels)


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
