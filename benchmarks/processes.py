"""Training images a second by one process and by several with the same global batch.

python benchmarks/processes.py --host efficientnet-lite0 --task mnist --batch 64 --processes 2 --seconds 10 --rounds 3

Each process has one thread. Runs of one and of several take turns; a figure counts from the first step's end on, and
leaves validations out. Run it on a machine that does nothing else. Where that can't be, processor time (of the first
process) says what it might be: it leaves out what other programs take, but also the waiting for each other. With
`--json` one JSON object is on stdout.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from reprogram.utils.process import start_torch


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
    from reprogram.utils.process import launched_rank

    host = reprogram.load_host(chosen.host)
    host.engine = chosen.engine
    task = reprogram.load_task(chosen.task)
    model = reprogram.Reprogrammed.build(host, task)
    readings: list[tuple[int, float, float]] = []
    reprogram.fit(
        model,
        task,
        seconds=chosen.seconds,
        batch_size=chosen.batch,
        validations=1,
        observe=lambda report: readings.append((report.images, time.perf_counter(), time.process_time())),
    )
    if launched_rank() == 0:
        first, last = readings[0], readings[-2]  # The validation comes before the last.
        images, wall, processor = (after - before for before, after in zip(first, last, strict=True))
        print(json.dumps([images / wall, images / processor]))


def run(processes: int) -> list[float]:
    """Images a second of so many processes, by the clock and by processor time."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    done = subprocess.run(  # noqa: S603
        [*launcher, __file__, "--one", *sys.argv[1:]],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    speeds: list[float] = json.loads(done.stdout)
    return speeds


def main() -> int:
    """Measure and print."""
    chosen = options()
    if chosen.one:
        learn(chosen)
        return 0
    found: dict[int, list[list[float]]] = {1: [], chosen.processes: []}
    for _ in range(chosen.rounds):
        for processes, speeds in found.items():
            speeds.append(run(processes))
    result = {name: getattr(chosen, name) for name in ("host", "task", "batch", "engine", "seconds")}
    result |= {"machine": platform.machine(), "cores": os.cpu_count()}
    for place, name in enumerate(("clock", "processor")):
        each = {processes: [speed[place] for speed in speeds] for processes, speeds in found.items()}
        ratio = statistics.median(each[chosen.processes]) / statistics.median(each[1])
        result[name] = {"images_per_s": each, "ratio": ratio}
        if not chosen.json:
            for processes, values in each.items():
                shown = ", ".join(f"{value:.1f}" for value in values)
                print(f"{name:10} {processes} process{'es' if processes > 1 else ''}: {shown} images/s")
            print(f"{name:10} ratio {ratio:.2f}")
    if chosen.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
