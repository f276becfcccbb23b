"""The machine and the environment of a process: the processor's name, and variables that others left."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def without_variables(*names: str) -> Iterator[None]:
    """Run the block without some environment variables; they are there again after it.

    Args:
        names: the variables' names; those that aren't set stay so.
    """
    values = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(values)
