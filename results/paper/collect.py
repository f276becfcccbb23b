"""Keep what the report needs of an output folder: `python results/paper/collect.py runs/paper`.

Plans, facts, and of each finished run its result and configuration; no data, no pictures of task images. Programs are
kept for the runs that are named after the folder.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent


def collect(source: Path, with_program: list[str]) -> int:
    """Copy, and say how many runs there are."""
    for part in ("plans", "facts"):
        shutil.copytree(source / part, HERE / part, dirs_exist_ok=True)
    results = sorted((source / "runs").glob("*/result.json"))
    for result in results:
        target = HERE / "runs" / result.parent.name
        target.mkdir(parents=True, exist_ok=True)
        names = ["result.json", "config.toml"]
        if result.parent.name in with_program:
            names.append("program.safetensors")
        for name in names:
            shutil.copy(result.parent / name, target / name)
    return len(results)


if __name__ == "__main__":
    print(f"{collect(Path(sys.argv[1]), sys.argv[2:])} runs")
