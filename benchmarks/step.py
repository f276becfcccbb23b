"""Measure one case: `python benchmarks/step.py --host H --window N --batch B --threads T --json`.

Times come from arms interleaved in this process, peak memory from a process for each arm. With `--json` one JSON
object, and nothing else, is on stdout; `step.schema.json` describes it.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NoReturn

from reprogram import ConfigError, ReprogramError
from reprogram.utils.process import start_torch

ROOT = Path(__file__).parents[1]
SCHEMA = 1
ARMS = "peers,unfrozen,folded,engine"
ALL_ARMS = "peers,autocast,unfrozen,folded,engine,half,exported"
ROUNDS = 5
EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print it and leave."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def whole_number(least: int) -> Any:
    """A reader of whole numbers from `least` on."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number of at least {least}")
        return value

    return read


def duration(text: str) -> float:
    """Read a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number of seconds")
    return value


def parser() -> Parser:
    """The command line's options."""
    parser = Parser(prog="step.py", description="Time one learning step, or one answer, of each arm.")
    parser.add_argument("--host", default="efficientnet-lite0", help="any host spec")
    parser.add_argument("--window", type=whole_number(1), default=28, help="side of the task image, pixels")
    parser.add_argument("--batch", type=whole_number(1), default=16, help="images a step")
    parser.add_argument("--classes", type=whole_number(2), default=10, help="of the task; at most the host's")
    parser.add_argument("--threads", type=whole_number(1), default=1)
    parser.add_argument("--seconds", type=duration, default=30.0, help="of measuring")
    parser.add_argument("--rounds", type=whole_number(1), default=ROUNDS, help="at the least")
    parser.add_argument("--arms", default=ARMS, help=f"which of {ALL_ARMS}")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--inference", action="store_true", help="answers of a fixed program instead of learning steps")
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    options = parser().parse_args(argv)
    try:
        with _stdout_to_stderr():
            result = case(options)
    except ReprogramError as error:
        print(f"step.py: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except BrokenProcessPool:
        print("step.py: the system ended a process that measured memory; try --no-memory", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What libraries print, here and in started processes, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def case(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one case and describe it in full.

    Raises:
        ReprogramError: the options can't be measured.
    """
    names = _arm_names(options)
    start_torch(options.threads)
    from arms import build, examine
    from measure import interleaved

    device_name(options.device)
    info = examine(options.host, options.window)
    classes = min(options.classes, info.num_classes)
    build_options = {
        "host": options.host,
        "window": options.window,
        "batch": options.batch,
        "num_classes": classes,
        "train": not options.inference,
        "device": options.device,
    }
    memory = {}
    if not options.no_memory and options.device == "cpu":
        memory = {n: _in_a_process(n, options.threads, build_options) for n in names if n != "exported"}
    measured = interleaved(
        {name: build(name, **build_options) for name in names}, seconds=options.seconds, least=options.rounds
    )
    for name in names:
        measured[name]["images_per_s"] = options.batch / measured[name]["median_s"]
        measured[name]["peak_memory_bytes"] = memory.get(name)
    median = {name: measured[name]["median_s"] for name in names}
    return {
        "schema": SCHEMA,
        "command": shlex.join(["python", "benchmarks/step.py", *_arguments(options)]),
        "host": options.host,
        "channels": info.channels,
        "canvas": list(info.size),
        "window": options.window,
        "batch": options.batch,
        "classes": classes,
        "threads": options.threads,
        "device": device_name(options.device),
        "mode": "inference" if options.inference else "train",
        "seed": 0,
        "arms": measured,
        "ratio_engine_over_dense": _ratio(median, "peers"),
        "ratio_engine_over_unfrozen": _ratio(median, "unfrozen"),
        "ratio_engine_over_folded": _ratio(median, "folded"),
        "ratio_half_over_dense": _ratio(median, "peers", "half"),
        "ratio_exported_over_dense": _ratio(median, "peers", "exported"),
        **_circumstances(),
    }


def _arm_names(options: argparse.Namespace) -> list[str]:
    """The chosen arms; of answers without `unfrozen`, which without a gradient is the peers' arm."""
    names = list(dict.fromkeys(options.arms.split(",")))
    if unknown := [name for name in names if name not in ALL_ARMS.split(",")]:
        raise ConfigError(f"--arms: {unknown[0]!r} isn't one of {ALL_ARMS}")
    if "exported" in names and not (options.inference and options.device == "cpu"):
        raise ConfigError("--arms exported: the file only answers, on the CPU; give --inference")
    chosen = [name for name in names if not (options.inference and name == "unfrozen")]
    if not chosen:
        raise ConfigError("--arms unfrozen: answers need no gradient, so --inference has no such arm")
    return chosen


def _ratio(median: dict[str, float], slower: str, faster: str = "engine") -> float | None:
    return median[slower] / median[faster] if {slower, faster} <= set(median) else None


def device_name(device: str) -> str:
    """The device's own name, such as that of the GPU."""
    import torch

    if not device.startswith("cuda"):
        return device
    if not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: there is no GPU here")
    return f"{device} ({torch.cuda.get_device_name()})"


def _arguments(options: argparse.Namespace) -> list[str]:
    """What repeats this case."""
    found = ["--host", options.host, "--window", options.window, "--batch", options.batch]
    found += ["--classes", options.classes, "--threads", options.threads, "--seconds", f"{options.seconds:g}"]
    if options.rounds != ROUNDS:
        found += ["--rounds", options.rounds]
    if options.arms != ARMS:
        found += ["--arms", options.arms]
    if options.device != "cpu":
        found += ["--device", options.device]
    found += ["--inference"] * options.inference + ["--no-memory"] * options.no_memory
    return [str(value) for value in [*found, "--json"]]


def _in_a_process(name: str, threads: int, build_options: dict[str, Any]) -> int | None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_memory, name, threads, build_options).result()


def _memory(name: str, threads: int, build_options: dict[str, Any]) -> int | None:
    start_torch(threads)
    from arms import build
    from measure import peak_memory

    return peak_memory(build(name, **build_options))


def _circumstances() -> dict[str, Any]:
    from reprogram.runs.result import versions
    from reprogram.utils.environment import processor

    changes = _git("status", "--porcelain", "--", "src", "benchmarks")
    return {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
        "commit": _git("rev-parse", "HEAD") or None,
        "uncommitted_changes": None if changes is None else bool(changes),
    }


def _git(*arguments: str) -> str | None:
    """What git says of this checkout; None where there is no git or no checkout."""
    program = shutil.which("git")
    if program is None:
        return None
    command = [program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  Our own words.
    return done.stdout.strip() if done.returncode == 0 else None


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
