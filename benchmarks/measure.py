"""Times that hold on a shared machine: arms interleaved in one process; medians, quartiles and minima."""

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def interleaved(arms: dict[str, Callable[[], object]], *, seconds: float, least: int) -> dict[str, dict[str, Any]]:
    """Run every arm once, then every arm again, in a rotating order, until the time is up.

    Args:
        arms: by name.
        seconds: of measuring; two warm-up rounds come before it.
        least: rounds at the least.

    Returns:
        For each arm: rounds, median, quartiles, minimum and all readings, in seconds.
    """
    names = list(arms)
    readings: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(2):
        for name in names:
            arms[name]()
    begun, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - begun < seconds:
        for name in names[rounds % len(names) :] + names[: rounds % len(names)]:
            gc.collect()
            start = time.perf_counter()
            arms[name]()
            readings[name].append(time.perf_counter() - start)
        rounds += 1
    return {name: summary(values) for name, values in readings.items()}


def summary(values: list[float]) -> dict[str, Any]:
    """The figures of one arm, in seconds."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {
        "rounds": len(values),
        "median_s": float(median),
        "quartiles_s": [float(low), float(high)],
        "minimum_s": min(values),
        "readings_s": [round(value, 6) for value in values],
    }


def peak_memory(call: Callable[[], object]) -> int | None:
    """Bytes that a call takes at its peak, above what is resident before it; None where the system doesn't tell.

    Run it in a process of its own: what an allocator keeps from earlier work would hide part of it.
    """
    call()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Resets the high-water mark.
        call()
        return max(_status("VmHWM") - before, 0)
    except (OSError, AttributeError):
        return None


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {key}")
