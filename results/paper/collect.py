"""Keep what the report needs of an output folder: `python results/paper/collect.py runs/paper results/paper`.

Plans, facts, and of each finished run its result and configuration; no data. Programs are kept for the runs that are
named after the two folders.
"""

import shutil
import sys
from pathlib import Path


def collect(source: Path, kept: Path, with_program: list[str]) -> int:
    """Copy, and say how many runs there are."""
    for part in ("plans", "facts"):
        if (source / part).exists():
            shutil.copytree(source / part, kept / part, dirs_exist_ok=True)
    results = sorted((source / "runs").glob("*/result.json"))
    for result in results:
        target = kept / "runs" / result.parent.name
        target.mkdir(parents=True, exist_ok=True)
        names = ["result.json", "config.toml"]
        if result.parent.name in with_program:
            names.append("program.safetensors")
        for name in names:
            shutil.copy(result.parent / name, target / name)
    return len(results)


if __name__ == "__main__":
    print(f"{collect(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])} runs")
