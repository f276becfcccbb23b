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
    """The task of a run, with the test images that the run was measured on; it is loaded once for all measurements.

    Args:
        config: the run's configuration.
    """
    task = _cached_task(config.task, config.data, config.download)
    return task.with_test_sample(config.test_images, seed=config.seed)


@functools.cache
def _cached_task(spec: str, data: str, download: bool) -> Any:
    from reprogram.tasks._factory import load_task

    return load_task(spec, data=data, download=download)


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
