"""What an accuracy must be held against: chance, the label map alone, a linear probe, a net of the task's own."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reprogram import direct
from reprogram.canvases.resize import Resize
from reprogram.evaluation import Evaluation, batches, evaluate
from reprogram.hearing import fitted_alone
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Split, Task

DIRECT_PASSES = 10
DIRECT_IMAGES = 12_800
ALONE_IMAGES = 10_000
"""Training images that a label map without a program is fitted to, at the most."""
PROBE_IMAGES = 2_000
"""Training images of the linear probe, at the most: features cost a host call each."""


def chance(task: Task) -> dict[str, Any]:
    """Guessing uniformly."""
    return {"accuracy": 1 / task.num_classes}


def majority(task: Task) -> dict[str, Any]:
    """Always answering the most frequent class of the training images."""
    label = int(torch.bincount(task.train.labels, minlength=task.num_classes).argmax())
    correct = int((task.test.labels == label).sum())
    result = Evaluation(n=len(task.test), correct=correct, loss=float("nan")).to_json()
    return {**result, "class": task.class_names[label]}


def label_map_alone(model: Reprogrammed, task: Task, images_seen: int = 0) -> dict[str, Any]:
    """The same canvas, host and label map with no program: what the host gives away by itself.

    A map that is fitted to the host's answers is fitted to those without the program. A map that hears every step's
    scores gets as many images as the program had, but not more than `ALONE_IMAGES`.
    """

    def host_scores(images: Tensor) -> Tensor:
        scores: Tensor = model.host(model.canvas(images))
        return scores

    device = model.canvas.frame.device
    label_map = fitted_alone(model.label_map, host_scores, task.train.to(device), images=min(images_seen, ALONE_IMAGES))
    return evaluate(lambda images: label_map(host_scores(images.to(device))), task).to_json()


def direct_training(task: Task, images_seen: int, *, seed: int = 0, augmentation: str = "none") -> dict[str, Any]:
    """A small convolutional net trained on the task itself, without any host.

    Args:
        task: trained on its training images; validation chooses, the test split is looked at once.
        images_seen: by the program. The net sees as many, or ten times all training images, or `DIRECT_IMAGES` where
            that is more; it costs little.
        seed: of start values and order.
        augmentation: of its training images, as the program's learning had it.
    """
    images = max(images_seen, DIRECT_PASSES * len(task.train), DIRECT_IMAGES)
    found = direct.train(task, "convolutional", images, seed=seed, augmentation=augmentation)
    return {**found.to_json(), "images_seen": images}


def linear_probe(host: Host, task: Task, *, seed: int = 0) -> dict[str, Any]:
    """Logistic regression on the host's features of the task image, resized to fill the host's input.

    This isn't reprogramming: it needs the features of an inner layer, and usually wins on photographs.

    Args:
        host: the frozen host.
        task: trained on at most `PROBE_IMAGES` training images, measured on the test split.
        seed: of the choice of training images.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(seed))
    train = task.train.take(order[:PROBE_IMAGES].sort().values)
    x_train, layer = _features(host, task, train)
    x_test, _ = _features(host, task, task.test)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Converged or not, the accuracy below is what it is.
        probe.fit(x_train, train.labels.numpy())
    correct = int((probe.predict(x_test) == task.test.labels.numpy()).sum())
    result = Evaluation(n=len(task.test), correct=correct, loss=float("nan")).to_json()
    return {**result, "features": layer, "train_images": len(train)}


@torch.no_grad()
def _features(host: Host, task: Task, split: Split) -> "tuple[np.ndarray[Any, Any], str]":
    canvas = Resize(Resize.Config(), image_shape=task.image_shape, host_shape=host.info.shape).to(host.mean.device)
    found, layer = [], ""
    for images in batches(split, 64, host.mean.device):
        features, layer = host.features(canvas(images))
        found.append(features.float().cpu())
    return torch.cat(found).numpy(), layer
