"""The executors, one a file; the file's name is the executor's."""

import importlib
from pathlib import Path

from reprogram.errors import ConfigError
from reprogram.sweep.executors.base import Executor
from reprogram.utils.messages import nearest
from reprogram.utils.variants import files_by_name


def executor_names() -> list[str]:
    """The names of all executors, sorted."""
    return sorted(files_by_name(Path(__file__).parent))


def check_executor(name: str) -> None:
    """Refuse a name that no executor has.

    Args:
        name: the executor's name.

    Raises:
        ConfigError: there is no such executor; names the nearest.
    """
    if name not in executor_names():
        raise ConfigError(f"no executor {name!r}; {nearest(name, executor_names())}")


def make_executor(name: str, *, address: str, threads: int) -> Executor:
    """Set up an executor.

    Args:
        name: the executor's name.
        address: the address of a cluster, for executors that use one.
        threads: the number of CPU threads of each worker.

    Raises:
        ConfigError: there is no such executor, or a package or cluster that it needs is missing.
    """
    check_executor(name)
    module = importlib.import_module(f"{__name__}.{name}")
    executor: Executor = module.executor(address=address, threads=threads)
    return executor
