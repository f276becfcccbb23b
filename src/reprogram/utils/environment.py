"""The machine and the environment of a process: the processor's name and maker, and variables that others left."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path


def processor() -> str:
    """The processor's name, as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def is_amd() -> bool:
    """Whether the processor is one of AMD's, as far as the system tells."""
    return "AuthenticAMD" in (_cpuinfo("vendor_id") or platform.processor())


def _cpuinfo(field: str) -> str:
    """What Linux says of the first processor; empty where it says nothing, and on other systems."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    return ""


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
