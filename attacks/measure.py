"""What a refusal costs: `python -m attacks.measure program|image GOOD BAD...` prints one JSON line for each bad file.

A process that has read the good file is forked for each bad one, so that none profits from the memory or the caches
of another. Memory is the highest resident size above that of the fork at its start (Linux). What is refused slowly is
tried again, for other processes may have been busy, and fixed work is timed beside it: times are given as they would
be on the machine that the limits are meant for, if this one is slower now.
"""

import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

SLOW_MS = 25
YARDSTICK_MS = 25
"""What `yardstick` takes of an idle core of an AMD EPYC (AVX2), the machine that the limits are meant for."""


def reader(kind: str) -> Callable[[Path], object]:
    """What reads files of this kind."""
    if kind == "program":
        from reprogram.programfile.file import read

        return read
    from reprogram.utils.images import read as read_image

    return read_image


def yardstick() -> None:
    """Fixed work of the kinds that a refusal consists of: Python's own, hashing, and memory that is new."""
    numbers = json.loads(json.dumps(list(range(25_000))))
    held = {str(number): number for number in numbers}
    hashlib.sha256(bytes(2**21) + str(len(held)).encode()).digest()


def resident(field: str) -> float:
    """VmRSS (now) or VmHWM (the most), in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def slowness() -> float:
    """How many times slower than that machine this one is now, at least 1."""
    begun = time.process_time()
    yardstick()
    return max(1.0, 1000 * (time.process_time() - begun) / YARDSTICK_MS)


def outcome(read: Callable[[Path], object], path: Path, good: Path) -> dict[str, Any]:
    """How reading a file ended, its time and processor time in milliseconds, its memory in MB, and what it imported.

    The good file is read once more before: a fork maps the libraries' code anew, and that counts as resident too.
    """
    read(good)
    idle, modules, begun = resident("VmRSS"), set(sys.modules), time.perf_counter()
    cpu_begun = time.process_time()
    try:
        read(path)
        error = ""
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    cpu_ms, ms = 1000 * (time.process_time() - cpu_begun), 1000 * (time.perf_counter() - begun)
    imported = sorted(set(sys.modules) - modules)
    return {
        "ms": round(ms, 2),
        "cpu_ms": round(cpu_ms, 2),
        "mb": round(resident("VmHWM") - idle, 2),
        "error": error,
        "imported": imported,
    }


def in_fork(work: Callable[[], Any]) -> Any:
    """What `work` returns, which JSON can hold, in a process of its own; None where that crashed."""
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of forking where threads are; there are none that matter.
        child = os.fork()
    if child == 0:
        os.write(send, json.dumps(work()).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def best(read: Callable[[Path], object], path: Path, good: Path) -> dict[str, Any]:
    """An outcome with the least time of up to fifteen tries, and the most memory."""
    crashed = {"ms": 0.0, "cpu_ms": 0.0, "mb": 0.0, "error": "crashed", "imported": []}
    tries, slow = [], []
    while not tries or (tries[-1]["error"] and tries[-1]["ms"] > SLOW_MS and len(tries) < 15):
        tries.append(in_fork(lambda: outcome(read, path, good)) or crashed)
        slow.append(in_fork(slowness) if tries[-1]["ms"] > SLOW_MS else 1.0)
    quickest = {cost: round(min(found[cost] for found in tries) / min(slow), 2) for cost in ("ms", "cpu_ms")}
    most = max(found["mb"] for found in tries)
    return {**tries[-1], **quickest, "mb": most, "slowness": round(min(slow), 2)}


def main() -> None:
    """Measure the files that the command line names."""
    kind, good, *bad = sys.argv[1:]
    read = reader(kind)
    for _ in range(3):
        read(Path(good))
    for path in bad:
        print(json.dumps({"path": path, **best(read, Path(path), Path(good))}), flush=True)


if __name__ == "__main__":
    main()
