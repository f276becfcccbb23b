"""Training images a second by one process and by several with the same global batch.

python benchmarks/processes.py --host efficientnet-lite0 --task mnist --batch 64 --processes 2 --seconds 10 --rounds 3

Each process has one thread. Runs of one and of several take turns; a figure counts from the first step's end on, and
leaves validations out. Run it on a machine that does nothing else. With `--json` one JSON object is on stdout.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from reprogram.cli.console import start_torch


def options() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="efficientnet-lite0")
    parser.add_argument("--task", default="mnist")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--engine", choices=("shared", "dense"), default="shared")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="of learning, a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def learn(chosen: argparse.Namespace) -> None:
    """Be one of the processes; the first prints images a second."""
    start_torch(1)
    import reprogram
    from reprogram.launch import launched_rank

    host = reprogram.load_host(chosen.host)
    host.engine = chosen.engine
    task = reprogram.load_task(chosen.task)
    model = reprogram.Reprogrammed.build(host, task)
    readings: list[tuple[int, float]] = []
    reprogram.fit(
        model,
        task,
        seconds=chosen.seconds,
        batch_size=chosen.batch,
        validations=1,
        observe=lambda report: readings.append((report.images, time.perf_counter())),
    )
    if launched_rank() == 0:
        (first, begun), (last, ended) = readings[0], readings[-2]  # The validation comes before the last.
        print(json.dumps({"images_per_s": (last - first) / (ended - begun), "steps": len(readings)}))


def run(processes: int) -> float:
    """Images a second of so many processes."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    done = subprocess.run(  # noqa: S603
        [*launcher, __file__, "--one", *sys.argv[1:]],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return float(json.loads(done.stdout)["images_per_s"])


def main() -> int:
    """Measure and print."""
    chosen = options()
    if chosen.one:
        learn(chosen)
        return 0
    speeds: dict[int, list[float]] = {1: [], chosen.processes: []}
    for _ in range(chosen.rounds):
        for processes, found in speeds.items():
            found.append(run(processes))
    medians = {processes: statistics.median(found) for processes, found in speeds.items()}
    ratio = medians[chosen.processes] / medians[1]
    if chosen.json:
        names = ("host", "task", "batch", "engine", "seconds")
        figures = {str(processes): found for processes, found in speeds.items()}
        machine = {"machine": platform.machine(), "cores": os.cpu_count()}
        print(json.dumps({n: getattr(chosen, n) for n in names} | machine | {"images_per_s": figures, "ratio": ratio}))
        return 0
    for processes, found in speeds.items():
        each = ", ".join(f"{value:.1f}" for value in found)
        print(f"{processes} process{'es' if processes > 1 else ''}: {medians[processes]:.1f} images/s ({each})")
    print(f"ratio {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
