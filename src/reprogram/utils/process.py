"""How this process was started, which device it computes on, and how torch is set up; imported before torch is."""

import contextlib
import ctypes
import gc
import os
from typing import Any

from reprogram.errors import ConfigError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of glibc's `mallopt`, by their numbers in malloc.h."""


LAUNCHED = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
"""The variables by which torchrun tells a process of the others."""


def launched_size() -> int:
    """The number of processes that torchrun started; 1 without torchrun.

    Raises:
        ConfigError: the variables name several processes, and not all that is needed to find them; names the variables.
    """
    size, rank, port = (_number(name) for name in ("WORLD_SIZE", "RANK", "MASTER_PORT"))
    if os.environ.get("WORLD_SIZE", "1").strip() in ("", "1"):
        return 1
    if size is None or rank is None or port is None or not (rank < size and 0 < port < 2**16):
        raise ConfigError(f"{left_over()}; start it with torchrun, or unset these variables")
    if not os.environ.get("MASTER_ADDR") or _number("LOCAL_RANK", "0") is None:
        raise ConfigError(f"{left_over()}; start it with torchrun, or unset these variables")
    return size


def launched_rank() -> int:
    """This process's rank among those that torchrun started; 0 without torchrun.

    Raises:
        ConfigError: as `launched_size`.
    """
    return (_number("RANK") or 0) if launched_size() > 1 else 0


def left_over() -> str:
    """The environment's variables of several processes, as the beginning of a message."""
    names = (*LAUNCHED, *(["LOCAL_RANK"] if "LOCAL_RANK" in os.environ else []))
    found = " ".join(f"{name}={os.environ[name]!r}" if name in os.environ else f"no {name}" for name in names)
    return f"the environment says that this is one of several processes ({found})"


def _number(name: str, default: str = "") -> int | None:
    """The whole number in a variable, at least 0; None where it holds none."""
    text = os.environ.get(name, default).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def local_device(name: str) -> str:
    """The name of this process's device: several processes on one machine take one CUDA device each.

    Args:
        name: the device that was asked for; every name but "cuda" is returned as it is.
    """
    local_rank = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{local_rank}" if launched_size() > 1 and name == "cuda" else name


def start_torch(threads: int | None) -> None:
    """Set up this process for computing; called before torch is imported. The library itself never does this.

    Two things matter on a CPU. Threads that wait in a spinning loop collapse when another process wants their core,
    so they sleep instead (`OMP_WAIT_POLICY`, `GOMP_SPINCOUNT`). And activations of tens of megabytes are allocated
    and freed in every step: glibc by default returns each to the system and pays for all its pages anew; it is told
    to keep them.

    Args:
        threads: how many threads torch computes with, 1 to 1024; None leaves torch's default.

    Raises:
        ConfigError: `threads` is out of range.
    """
    if threads is not None and not 1 <= threads <= 1024:
        raise ConfigError(f"--threads {threads}; a number from 1 to 1024 is expected")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # What sockets meet is said in our words.
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 * 2**20)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def num_threads() -> int:
    """The number of threads that torch computes with."""
    import torch

    return torch.get_num_threads()


def resolve_device(name: str) -> Any:
    """The `torch.device` of a name.

    Args:
        name: cpu, cuda, cuda:1, mps, or auto for the best there is.

    Raises:
        ConfigError: this machine has no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(f"device {name!r} isn't here; reprogram doctor lists those that are") from None
    return device


def trim_memory() -> None:
    """Give memory that glibc keeps for later back to the system.

    `start_torch` has it keep what is freed, which fits what comes next while one thing goes on. Work of other sizes
    leaves gaps, and a process of many kinds of work grows to several times what each needs.
    """
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> None:
    """Give all memory that is kept for later back to the system, so that other processes can have it.

    Hosts of earlier runs that are left in cycles are collected, which takes some tenths of a second in a large process;
    PyTorch keeps memory on GPUs.
    """
    import torch

    gc.collect()
    trim_memory()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
