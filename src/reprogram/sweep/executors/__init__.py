"""Where workers run: one file each, chosen by its name."""

import importlib
import pkgutil

from reprogram.errors import ConfigError, nearest
from reprogram.sweep.executors.base import Executor


def executor_names() -> list[str]:
    """All there are, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")


def make_executor(name: str, *, address: str, threads: int) -> Executor:
    """Set up an executor.

    Args:
        name: of its file.
        address: of a cluster, for those that use one.
        threads: of each worker.

    Raises:
        ConfigError: no such executor, or what it needs isn't here.
    """
    if name not in executor_names():
        raise ConfigError(f"no executor {name!r}; {nearest(name, executor_names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    executor: Executor = module.executor(address=address, threads=threads)
    return executor
