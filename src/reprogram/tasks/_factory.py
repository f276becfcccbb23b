"""Load tasks, or find their sources, from specs."""

from collections.abc import Callable
from pathlib import Path

from reprogram.errors import ConfigError
from reprogram.registry import configure
from reprogram.tasks.base import Task, TaskSource
from reprogram.utils.contracts import breach
from reprogram.utils.files import user_path


def load_task(
    spec: str,
    *,
    data: str | Path = "",
    download: bool = False,
    skip_bad: bool = False,
    size_of_unequal: Callable[[], tuple[int, int]] | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Task:
    """Load a task from its spec, such as `mnist` or `folder:PATH`.

    Args:
        spec: the task's name and options.
        data: the path of its files, for tasks that take such an option.
        download: whether data may be fetched.
        skip_bad: whether to go on without files that can't be read, for tasks that take such an option.
        size_of_unequal: gives the height and width, in pixels, that images of several sizes are brought to, where the
            spec says none; without it they are brought to 112 pixels.
        image_shape: the channels, height and width, in pixels, that image files are brought to, where the spec says
            none; None takes them as they are.

    Raises:
        ConfigError: there is no such task.
        DataError: the task's data aren't here, or are damaged.
    """
    source = task_source(spec, data=data, skip_bad=skip_bad)
    source.size_of_unequal, source.image_shape = size_of_unequal, image_shape
    task = source.load(download=download)
    if not isinstance(task, Task):
        raise breach(source, f"loads {'nothing' if task is None else type(task).__name__}; return a Task")
    return task


def task_source(spec: str, *, data: str | Path = "", skip_bad: bool = False) -> TaskSource:
    """The source that a spec names, configured; nothing is loaded yet.

    Args:
        spec: the task's name and options.
        data: the path of its files, for tasks that take such an option.
        skip_bad: whether to go on without files that can't be read, for tasks that take such an option.

    Raises:
        ConfigError: there is no such task, or it takes no such option.
    """
    from dataclasses import fields, replace

    variant, config = configure("tasks", spec)
    known = {f.name for f in fields(config)}
    if data not in ("", None):
        if "data" not in known:
            raise ConfigError(f"task {variant.name()}: takes no data folder; leave --data out")
        config = replace(config, data=str(user_path(data, "data")))
    if skip_bad:
        if "skip_bad" not in known:
            raise ConfigError(f"task {variant.name()}: can't go on without files; leave --skip-bad out")
        config = replace(config, skip_bad=True)
    source: TaskSource = variant(config)
    return source
