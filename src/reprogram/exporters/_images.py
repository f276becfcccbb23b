"""The images that an exported file is compared on: the task's test images, or made ones."""

import torch
from torch import Tensor

from reprogram.errors import ConfigError, ReprogramError
from reprogram.model import Reprogrammed
from reprogram.registry import is_listed
from reprogram.tasks._factory import load_task
from reprogram.tasks.base import Task
from reprogram.types import SampleSize
from reprogram.utils.messages import shown

SEED = 20180628


def images_for(
    model: Reprogrammed, task: Task | str | None, count: SampleSize, made: int, *, download: bool
) -> tuple[Tensor, str]:
    """The images to look at, and what they are.

    Args:
        model: the model, whose task record names the task.
        task: the task, or its spec; None for the one that the record names, where it is at hand.
        count: how many test images are taken, a stratified sample; "all" for all.
        made: how many images are made where the task isn't at hand.
        download: whether the task's data may be fetched.

    Returns:
        n × c × h × w, uint8; and their name, such as "test images of mnist".

    Raises:
        ConfigError: the task that was given has other images or classes; or the number makes no sense.
        DataError: the data of the task that was given aren't here.
    """
    record = model.task
    loaded = _at_hand(model) if task is None else task
    if isinstance(loaded, str):
        loaded = load_task(loaded, download=download, image_shape=record.shape)
    if not isinstance(loaded, Task | None):
        raise ConfigError(f"task: {type(task).__name__} given; a task, or its spec, is expected")
    if loaded is None:
        return _made(record.shape, made), "made images"
    if loaded.image_shape != record.shape or loaded.class_names != record.classes:
        raise ConfigError(
            f"task {loaded.name}: {loaded.num_classes} classes, {loaded.image_shape} pixels; the program was learned "
            f"for {record.name} ({len(record.classes)} classes, {record.shape}): give that task"
        )
    if count != "all":
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"test_images={shown(count)}; a whole number from 1, or 'all', is expected")
        return loaded.test.sample(count, seed=0).images.cpu(), f"test images of {loaded.name}"
    return loaded.test.images.cpu(), f"test images of {loaded.name}"


def _at_hand(model: Reprogrammed) -> Task | None:
    """The listed task without options that a record names; None where its data aren't here, or are others.

    A program file may be a stranger's: no task that names files is opened for it.
    """
    record = model.task
    if not is_listed("tasks", record.name):
        return None
    try:
        task = load_task(record.name)
    except (ReprogramError, OSError):
        return None
    fits = task.image_shape == record.shape and task.class_names == record.classes
    return task if fits else None


def _made(shape: tuple[int, int, int], count: int) -> Tensor:
    """Images of noise around levels and of contrasts that differ, the same ones each time."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.rand(count, *shape, generator=generator) - 0.5
    level, contrast = (torch.rand(count, 1, 1, 1, generator=generator) for _ in range(2))
    return ((level + contrast * noise).clamp(0, 1) * 255).round().to(torch.uint8)
