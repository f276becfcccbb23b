"""Measure one case: `python benchmarks/step.py --host H --window N --batch B --threads T --json`.

Times come from arms interleaved in this process, peak memory from a process for each arm.
"""

import argparse
import json
import multiprocessing
import platform
import subprocess
import sys
from typing import Any

from reprogram.cli.console import start_torch

SCHEMA = 1


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time one learning step, or one answer, of each arm.")
    parser.add_argument("--host", default="efficientnet-lite0", help="any host spec")
    parser.add_argument("--window", type=int, default=28, help="side of the task image, pixels")
    parser.add_argument("--batch", type=int, default=16, help="images a step")
    parser.add_argument("--classes", type=int, default=10, help="of the task")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring")
    parser.add_argument("--rounds", type=int, default=5, help="at the least")
    parser.add_argument("--arms", default="peers,unfrozen,folded,engine", help="which, by commas")
    parser.add_argument("--inference", action="store_true", help="answers of a fixed program instead of learning steps")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    result = case(options)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


def case(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one case and describe it in full."""
    arms = options.arms.split(",")
    if options.inference:
        arms = [name for name in arms if name != "unfrozen"]  # Without a gradient it is the peers' arm.
    memory = {} if options.no_memory else {name: _in_a_process(_memory, name, options) for name in arms}
    start_torch(options.threads)
    from arms import build
    from measure import interleaved

    measured = interleaved(
        {name: build(name, **_build_options(options)) for name in arms}, seconds=options.seconds, least=options.rounds
    )
    for name in arms:
        measured[name]["images_per_s"] = options.batch / measured[name]["median_s"]
        measured[name]["peak_memory_bytes"] = memory.get(name)
    median = {name: measured[name]["median_s"] for name in arms}
    return {
        "schema": SCHEMA,
        "command": " ".join(["python", "benchmarks/step.py", *_arguments(options)]),
        "host": options.host,
        "window": options.window,
        "batch": options.batch,
        "classes": options.classes,
        "threads": options.threads,
        "mode": "inference" if options.inference else "train",
        "seed": 0,
        "arms": measured,
        "ratio_engine_over_dense": _ratio(median, "peers"),
        "ratio_engine_over_unfrozen": _ratio(median, "unfrozen"),
        "ratio_engine_over_folded": _ratio(median, "folded"),
        **_circumstances(),
    }


def _ratio(median: dict[str, float], slower: str) -> float | None:
    return median[slower] / median["engine"] if {slower, "engine"} <= set(median) else None


def _arguments(options: argparse.Namespace) -> list[str]:
    found = ["--host", options.host, "--window", options.window, "--batch", options.batch]
    found += ["--classes", options.classes, "--threads", options.threads, "--seconds", options.seconds]
    return [str(value) for value in found + ["--inference"] * options.inference + ["--json"]]


def _build_options(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "host": options.host,
        "window": options.window,
        "batch": options.batch,
        "num_classes": options.classes,
        "train": not options.inference,
    }


def _in_a_process(function: Any, *args: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def _memory(name: str, options: argparse.Namespace) -> int | None:
    start_torch(options.threads)
    from arms import build
    from measure import peak_memory

    return peak_memory(build(name, **_build_options(options)))


def _circumstances() -> dict[str, Any]:
    import os

    from reprogram.runs import processor, versions

    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
        "commit": commit or None,
    }


def show(result: dict[str, Any]) -> None:
    """Print a case for people."""
    print(f"{result['host']}, window {result['window']}, batch {result['batch']}, {result['mode']}")
    for name, arm in result["arms"].items():
        memory = arm["peak_memory_bytes"]
        print(
            f"  {name:9} {1000 * arm['median_s']:9.1f} ms  {arm['images_per_s']:7.1f} images/s"
            + (f"  {memory / 2**20:7.0f} MiB" if memory is not None else "")
        )
    for name in ("dense", "unfrozen", "folded"):
        if (ratio := result[f"ratio_engine_over_{name}"]) is not None:
            print(f"  engine over {name}: {ratio:.2f}")


if __name__ == "__main__":
    sys.exit(main())
