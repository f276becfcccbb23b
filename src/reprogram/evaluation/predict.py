"""A model's scores of every image of a split, and its evaluation."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.errors import ConfigError, DataError
from reprogram.evaluation.metrics import Evaluation, score
from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split
from reprogram.tasks.base import Task
from reprogram.utils.arguments import checked

BATCH_SIZE = {"cpu": 64, "cuda": 256}
"""Images of a call by the kind of device: as many as a CPU's caches hold, or as keep a GPU busy."""


def batches(split: Split, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """A split's images in order, batch by batch.

    Args:
        split: the images.
        batch_size: images of a batch; the last one may have fewer.
        device: the device that each batch is moved to.

    Yields:
        b × c × h × w, uint8.
    """
    for start in range(0, len(split), batch_size):
        yield split.images[start : start + batch_size].to(device)


@contextlib.contextmanager
def in_eval_mode(model: object) -> Iterator[None]:
    """In the block, program and label map of a model are in evaluation mode; afterwards each module is as it was.

    Args:
        model: the model; anything but a `Reprogrammed` stays as it is.
    """
    parts = (model.program, model.label_map) if isinstance(model, Reprogrammed) else ()
    training = [module for part in parts for module in part.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@torch.no_grad()
def predict(
    model: nn.Module | Callable[[Tensor], Tensor],
    split: Split,
    *,
    batch_size: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_batch: Callable[[int], None] = lambda _: None,
) -> Float[Tensor, "n k"]:
    """Task scores of every image of a split, on the CPU; program and label map are in evaluation mode for it.

    Args:
        model: turns b × c × h × w uint8 images into b × k scores.
        split: the images.
        batch_size: images of a call; scores don't depend on it. None for as many as suit the device.
        stop: called before each batch; once it returns True, nothing more is computed.
        on_batch: called after each batch with the number of images that are computed.

    Returns:
        n × k scores (logits), n being the images that were computed; 0 × 0 where there are none.

    Raises:
        ConfigError: the batch size is below 1, the model can't be called, or it doesn't give b × k scores.
    """
    if not callable(model):
        raise ConfigError(
            f"a {type(model).__name__} is no model; give what Reprogrammed.build or reprogram.load returns"
        )
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}; at least 1 is expected")
    device = _device_of(model)
    scores: list[Tensor] = []
    done = 0
    with in_eval_mode(model):
        for images in batches(split, batch_size or BATCH_SIZE.get(device.type, BATCH_SIZE["cpu"]), device):
            if stop():
                break
            scores.append(_checked(model(images), len(images)).float())
            done += len(images)
            on_batch(done)
    return torch.cat(scores).cpu() if scores else torch.empty(0, 0)  # One transfer.


def _checked(scores: Any, count: int) -> Tensor:
    """Refuse what aren't the scores of `count` images."""
    if not isinstance(scores, Tensor):
        raise ConfigError(f"the model gives a {type(scores).__name__}; a tensor of b x k scores is expected")
    if scores.ndim != 2 or len(scores) != count:
        shape = " x ".join(map(str, scores.shape)) or "one number"
        raise ConfigError(f"the model gives {shape} for {count} images; {count} x k scores are expected")
    return scores


def _device_of(model: Any) -> torch.device:
    """The device of a module's first tensor; the CPU for other callables."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return torch.device("cpu")


@checked
def evaluate(
    model: nn.Module | Callable[[Tensor], Tensor], data: Split | Task, *, batch_size: int | None = None
) -> Evaluation:
    """Evaluate a model on a split.

    Args:
        model: turns b × c × h × w uint8 images into b × k scores.
        data: a split, or a task, whose test split is used.
        batch_size: images of a call; None for as many as suit the device.

    Raises:
        ConfigError: the model can't be called, or these are no data.
        DataError: a score isn't finite, or the labels aren't those of the model's task.
    """
    if isinstance(data, Task):
        difference = model.task.difference(data) if isinstance(model, Reprogrammed) else None
        if difference is not None:
            raise DataError(f"the model was learned for another task than {data.name}, which has {difference}")
    split = data.test if isinstance(data, Task) else data
    return score(predict(model, split, batch_size=batch_size), split.labels)
