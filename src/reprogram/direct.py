"""Nets trained directly on a task: what its images alone give."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from reprogram.evaluation import Evaluation, predict, score
from reprogram.losses import epoch_order
from reprogram.registry import configure
from reprogram.tasks.base import Task

BATCH = 64
LEARNING_RATE = 1e-3
VALIDATIONS = 10


class Direct(nn.Module):
    """A small net on uint8 task images.

    Args:
        kind: "fully connected" has two hidden layers of 256 units, "convolutional" three 3×3 convolutions with pooling.
        shape: c, h, w of the images.
        num_classes: k.
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
        """Classify b × c × h × w uint8 images: b × k scores."""
        scores: torch.Tensor = self.body(images.float() / 127.5 - 1)
        return scores


def train(task: Task, kind: str, images: int, *, seed: int, augmentation: str = "none") -> Evaluation:
    """Train by Adam with a cosine schedule; the validation split chooses, the test split is looked at once.

    Args:
        task: whose training images it learns from.
        kind: of `Direct`.
        images: training images seen, to the nearest batch.
        seed: of start values and order.
        augmentation: of the training images, its spec.
    """
    variant, config = configure("augmentations", augmentation)
    varied = variant(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Direct(kind, task.image_shape, task.num_classes)
    adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    per_epoch = -(-len(task.train) // BATCH)
    steps = max(round(images / len(task.train) * per_epoch), 1)
    best, kept = (-1, 0.0), {}
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            order = epoch_order(len(task.train), seed, epoch)
            chance = varied.draw(len(task.train), seed, epoch)
        batch = varied.batch(task.train, order[place * BATCH : (place + 1) * BATCH], chance)
        for group in adam.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        adam.zero_grad()
        F.cross_entropy(net(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
        adam.step()
        if (step + 1) % max(steps // VALIDATIONS, 1) == 0 or step + 1 == steps:
            found = score(predict(net, task.validation), task.validation.labels)
            if (found.correct, -found.loss) > best:
                best, kept = (found.correct, -found.loss), {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(kept)
    return score(predict(net, task.test), task.test.labels)
