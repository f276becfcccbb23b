"""What a cell of a grid costs beside its learning: seconds and bytes, for docs/scale.md.

python benchmarks/fixed_costs.py --host efficientnet-lite0 --task mnist
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reprogram.utils.process import start_torch

CELLS = 20_000


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it returns."""
    begun = time.perf_counter()
    result = call()
    return time.perf_counter() - begun, result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="efficientnet-lite0")
    parser.add_argument("--task", default="mnist")
    chosen = parser.parse_args()
    import_s, _ = timed(lambda: start_torch(1))
    from reprogram import load_host
    from reprogram.evaluation import datacheck
    from reprogram.runs.config import RunConfig
    from reprogram.runs.folder import RunFolder
    from reprogram.sweep.grid import read_grid
    from reprogram.sweep.loader import CachedLoader
    from reprogram.sweep.worker import attempt

    rows = [("import torch", import_s)]
    rows.append(("load the host, first", timed(lambda: load_host(chosen.host))[0]))
    rows.append(("load the host, again from the disk's cache", timed(lambda: load_host(chosen.host))[0]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = RunConfig(host=chosen.host, task=chosen.task, epochs=0.01, baselines=(), out=str(folder / "run"))
        rows.append(("decode and write the task", timed(lambda: CachedLoader(folder / "tasks").task(config))[0]))
        mapped_s, task = timed(lambda: CachedLoader(folder / "tasks").task(config))
        rows.append(("map the task", mapped_s))
        rows.append(("fingerprint of the task", timed(lambda: task.fingerprint)[0]))
        rows.append(("check of the task's data", timed(lambda: datacheck.check(task))[0]))
        workshop = CachedLoader(folder / "tasks")
        attempt(config, 1, workshop, lambda _: None)
        (folder / "grid.toml").write_text(f'[grid]\ntask = "{chosen.task}"\nseed = {list(range(CELLS))}\n')
        rows.append((f"read a grid of {CELLS:,} cells", timed(lambda: read_grid(folder / "grid.toml"))[0]))
        each = timed(lambda: [RunFolder(folder / "run").prepare(config) for _ in range(1000)])[0] / 1000
        rows.append((f"find {CELLS:,} cells finished", CELLS * each))
        sizes = {path.name: path.stat().st_size for path in sorted((folder / "run").iterdir())}
        sizes["the task, decoded"] = sum(path.stat().st_size for path in (folder / "tasks").glob("*/*"))
    for what, seconds in rows:
        print(f"{what:45} {seconds:8.2f} s")
    for what, size in sizes.items():
        print(f"{what:45} {size / 1e6:8.2f} MB")
    print(f"{'a run folder':45} {sum(size for what, size in sizes.items() if ',' not in what) / 1e6:8.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
