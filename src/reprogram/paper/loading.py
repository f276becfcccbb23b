"""Hosts, tasks and models of finished runs, loaded for measurements; hosts and tasks once."""

import functools
from typing import Any

from reprogram.errors import ReprogramError
from reprogram.paper.plan import Planned
from reprogram.paper.store import Row
from reprogram.registry import configure
from reprogram.runs.config import RunConfig

HOSTS_KEPT = 2
"""Hosts that stay loaded: measurements go from host to host, and large ones take a gigabyte."""


@functools.lru_cache(maxsize=HOSTS_KEPT)
def host_of(spec: str, download: bool = False) -> Any:
    """A host, built once for all measurements.

    Args:
        spec: the host's spec.
        download: whether weights that aren't here may be fetched.
    """
    from reprogram.hosts._factory import load_host

    return load_host(spec, download=download)


def task_of(config: RunConfig) -> Any:
    """The task of a run, with the training and test images that the run had; it is loaded once for all measurements.

    Args:
        config: the run's configuration.
    """
    from reprogram.tasks._factory import task_source

    shown_on = (config.canvas, config.host) if task_source(config.task).takes_size() else None
    task = _cached_task(config.task, config.data, config.download, config.skip_bad, shown_on)
    task = task if config.shots is None else task.few(config.shots, seed=config.seed)
    return task.with_test_sample(config.test_images, seed=config.seed)


@functools.cache
def _cached_task(spec: str, data: str, download: bool, skip_bad: bool, shown_on: tuple[str, str] | None) -> Any:
    from reprogram.canvases.base import size_in_window
    from reprogram.hosts._factory import host_source
    from reprogram.tasks._factory import load_task

    def size() -> tuple[int, int]:
        assert shown_on is not None
        canvas, host = shown_on
        info = host_source(host).info() or host_of(host, download).info
        return size_in_window(canvas, info.shape)

    return load_task(spec, data=data, download=download, skip_bad=skip_bad, size_of_unequal=size)


def some(split: Any, count: int, seed: int) -> Any:
    """Random images of a split: many tasks hold theirs class by class.

    Args:
        split: the split of a task.
        count: the number of images, at the most.
        seed: the seed of the choice.
    """
    import torch

    return split.take(torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count])


def frame_pixels(config: RunConfig) -> int | None:
    """The number of pixels around the task image, which a program may use.

    Args:
        config: the run's configuration.

    Returns:
        The number; None where it can't be known before the run.
    """
    from reprogram.hosts._factory import host_source

    try:
        info = host_source(config.host).info()
        if info is None:
            return None
        task = task_of(config)
        variant, options = configure("canvases", config.canvas)
        canvas = variant(options, image_shape=task.image_shape, host_shape=info.shape)
    except ReprogramError:  # The check before the runs, or they themselves, will say so.
        return None
    return int(canvas.geometry.mask().sum())


def model_of(row: Row, planned: Planned) -> Any:
    """The reprogrammed model that a run learned.

    Args:
        row: the finished run.
        planned: the same run with its configuration.
    """
    from reprogram.model import load

    return load(row.program, host=host_of(planned.config.host, planned.config.download))
