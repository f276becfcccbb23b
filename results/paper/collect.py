"""Keep what the report needs of an output folder: `python results/paper/collect.py runs/paper results/paper`.

Plans, facts, and of each finished run its result and configuration; no data. Programs are kept for the runs that are
named after the two folders. Runs of several output folders add up. Runs that were begun are kept in the folder `begun`
with their checkpoints, from which any machine goes on with them.
"""

import json
import shutil
import sys
from pathlib import Path


def collect(source: Path, kept: Path, with_program: list[str]) -> int:
    """Copy, and say how many runs there are."""
    if (source / "facts").exists():
        shutil.copytree(source / "facts", kept / "facts", dirs_exist_ok=True)
    (kept / "plans").mkdir(parents=True, exist_ok=True)
    for plan in sorted((source / "plans").glob("*.json")):
        target = kept / "plans" / plan.name
        lines = [line for path in (target, plan) if path.exists() for line in json.loads(path.read_text("utf-8"))]
        by_run = {line["run"]: line for line in lines}
        target.write_text(json.dumps(list(by_run.values()), indent=1) + "\n", encoding="utf-8")
    results = sorted((source / "runs").glob("*/result.json"))
    for result in results:
        target = kept / "runs" / result.parent.name
        target.mkdir(parents=True, exist_ok=True)
        names = ["result.json", "config.toml"]
        if result.parent.name in with_program:
            names.append("program.safetensors")
        for name in names:
            shutil.copy(result.parent / name, target / name)
        shutil.rmtree(kept / "begun" / result.parent.name, ignore_errors=True)
    of_the_process = shutil.ignore_patterns("lock", "run.json", "checkpoint.previous.safetensors", ".*")
    for run in (path.parent for path in sorted((source / "runs").glob("*/checkpoint.safetensors"))):
        if not (run / "result.json").exists():
            shutil.copytree(run, kept / "begun" / run.name, ignore=of_the_process, dirs_exist_ok=True)
    return len(results)


if __name__ == "__main__":
    print(f"{collect(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])} runs")
