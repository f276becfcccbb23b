"""How this process was started, which device it computes on, and how torch is set up; imported before torch is."""

import contextlib
import ctypes
import gc
import os
from typing import Any

from reprogram.errors import ConfigError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of glibc's `mallopt`, by their numbers in malloc.h."""


def launched_size() -> int:
    """The number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "MASTER_ADDR" in os.environ else 1


def launched_rank() -> int:
    """This process's rank among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", "0")) if launched_size() > 1 else 0


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
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 * 2**20)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


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


def free_gpu_memory() -> None:
    """Give memory that PyTorch keeps on GPUs for later back to the system, so that other processes can have it."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()
