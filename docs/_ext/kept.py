"""Results of sweeps, stored under results/: `python docs/_ext/kept.py window runs/window` keeps new ones."""

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import results_index

RESULTS = Path(__file__).parents[2] / "results"

Run = tuple[dict[str, Any], dict[str, Any]]
"""Configuration and result."""


def keep(name: str, runs: Path) -> int:
    """Copy the result and configuration of each finished run, and write the index; say how many runs there are."""
    found = sorted(runs.glob("*/result.json"))
    for result in found:
        shutil.copy(result, RESULTS / name / f"{result.parent.name}.json")
        shutil.copy(result.parent / "config.toml", RESULTS / name / f"{result.parent.name}.toml")
    results_index.write(RESULTS / name)
    return len(found)


def load(name: str) -> list[Run]:
    """Configuration and result of each run."""
    runs = []
    for path in sorted((RESULTS / name).glob("*.json")):
        config = tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))["fit"]
        result = json.loads(path.read_text(encoding="utf-8"))
        runs.append(({**config, "batch_size": result.get("batch_size", config["batch_size"])}, result))
    return runs


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def worth(result: dict[str, Any]) -> str:
    """What the program is worth: accuracy minus the label map alone's; older results have no interval for it."""
    found = result.get("program_worth")
    if found is not None:
        low, high = found["interval"]
        return f"{found['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    alone = result["baselines"].get("map_alone")
    return "–" if alone is None else f"{result['test']['accuracy'] - alone['accuracy']:+.3f}"


def top_label(result: dict[str, Any]) -> str:
    """The accuracy by the host's top label alone, where the label map can be read from it; older results lack it."""
    found = result.get("host_shows", {}).get("top_label")
    return "–" if found is None else f"{found['accuracy']:.3f}"


def circumstances(results: list[dict[str, Any]]) -> str:
    """On what they were run."""
    seen = sorted(
        {
            f"{r['machine']['processor']}, torch {r['versions']['torch']}, timm {r['versions'].get('timm', 'none')}"
            for r in results
        }
    )
    return "; ".join(seen)


if __name__ == "__main__":
    print(f"{keep(sys.argv[1], Path(sys.argv[2]))} runs")
