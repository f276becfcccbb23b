"""Linear probe on the host's features (not reprogramming)."""

import warnings
from typing import Any

import numpy as np
import torch

from reprogram.canvases.resize import Resize
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import Evaluation
from reprogram.evaluation.predict import batches
from reprogram.hosts.base import Host
from reprogram.tasks._split import Split
from reprogram.tasks.base import Task

PROBE_IMAGES = 2_000
"""The most training images of the linear probe: each costs a host call."""


class LinearProbe(Baseline):
    """Logistic regression on the features of the host's inner layer."""

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that the probe learns from, and the test images."""
        canvas, images = _canvas(run.model.host, run.task), min(PROBE_IMAGES, len(run.task.train)) + len(run.task.test)
        return Asks(images=images, ask=lambda batch: run.model.host.features(canvas(batch)))

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        return linear_probe(run.model.host, run.task, seed=run.seed)


def linear_probe(host: Host, task: Task, *, seed: int = 0) -> dict[str, Any]:
    """Logistic regression on the host's features of the task image, resized to fill the host's input.

    This isn't reprogramming: it needs the features of an inner layer, and usually wins on photographs.

    Args:
        host: the frozen host.
        task: the task; the probe learns from at most `PROBE_IMAGES` training images, the test split measures it.
        seed: decides which training images are used.

    Returns:
        The fields `accuracy`, `n`, `interval`, `features` and `train_images` of a result.

    Raises:
        DataError: images that the canvas doesn't take.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(seed))
    train = task.train.take(order[:PROBE_IMAGES].sort().values)
    # n x d features of each split
    x_train, layer = _features(host, task, train)
    x_test, _ = _features(host, task, task.test)
    only = set(train.labels.tolist())
    classifier = LogisticRegression(C=0.1, max_iter=300) if len(only) > 1 else DummyClassifier()  # That class, always.
    probe = make_pipeline(StandardScaler(), classifier)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The accuracy below counts, whether the fit has converged or not.
        probe.fit(x_train, train.labels.numpy())
    correct = int((probe.predict(x_test) == task.test.labels.numpy()).sum())
    result = Evaluation(n=len(task.test), correct=correct, loss=float("nan")).to_json()
    return {**result, "features": layer, "train_images": len(train)}


@torch.no_grad()
def _features(host: Host, task: Task, split: Split) -> "tuple[np.ndarray[Any, Any], str]":
    """The n × d features of a split's images, and the name of the layer that they come from."""
    canvas = _canvas(host, task)
    features, layer = [], ""
    for images in batches(split, 64, host.mean.device):
        batch_features, layer = host.features(canvas(images))
        features.append(batch_features.float().cpu())
    return torch.cat(features).numpy(), layer


def _canvas(host: Host, task: Task) -> Resize:
    return Resize(Resize.Config(), image_shape=task.image_shape, host_shape=host.info.shape).to(host.mean.device)
