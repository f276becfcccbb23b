"""What more cores bring: `python benchmarks/threads.py --host efficientnet-lite0 --threads 1 2`.

The peers' step and short runs of ours, in float32 and in the precision "auto", with each number of threads: inside the
operations, and as many processes of one thread, which is what `fit --threads N` does. As many runs beside each other
share nothing and wait for nothing: no way of using the cores reaches more. All are interleaved in this process. Ratios
are medians of those to the same arm with the first number of threads, round by round. With `--json` one JSON object,
and nothing else, is on stdout.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial

from reprogram.utils.process import start_torch

STEPS = 24
"""Of a run of ours; its few validation images count in its time."""


def main() -> None:
    """Measure one host."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="efficientnet-lite0")
    parser.add_argument("--window", type=int, default=36)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    start_torch(max(args.threads))
    import numpy as np
    import torch
    from arms import build, random_task

    import reprogram
    from reprogram.utils.environment import processor
    from reprogram.utils.forks import forked

    case = {"host": args.host, "window": args.window, "batch": args.batch, "num_classes": 10, "train": True}
    peers = build("peers", **case)
    host = reprogram.load_host(args.host)
    task = random_task(args.window, host.info.channels, 10, args.batch * STEPS)
    model = reprogram.Reprogrammed.build(host, task)

    def peers_seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        peers()  # Memory that is shared with forks is copied when it is first written.
        begun = time.perf_counter()
        for _ in range(2):
            peers()
        return (time.perf_counter() - begun) / (2 * args.batch)

    def our_seconds(threads: int, *, precision: str, processes: int) -> float:
        torch.set_num_threads(threads)
        options = {"images": args.batch * STEPS, "batch_size": args.batch, "validations": 1, "validation_images": 10}
        result = reprogram.fit(model, task, **options, precision=precision, processes=processes)
        return result.seconds / result.images_seen

    def seconds_beside(count: int, *, precision: str) -> float:
        with forked(count) as group:  # Each has a whole batch of its own, and waits for no other.
            seconds = our_seconds(1, precision=precision, processes=1)
            return float(group.all_reduce(torch.tensor(seconds, dtype=torch.float64))) / count**2

    arms: dict[str, Callable[[], float]] = {}
    for count in args.threads:
        arms[f"peers, {count} threads"] = partial(peers_seconds, count)
        for precision in ("float32", "auto"):
            name = f"ours, {precision}, {count}"
            arms[f"{name} threads"] = partial(our_seconds, count, precision=precision, processes=1)
            arms[f"{name} processes"] = partial(our_seconds, count, precision=precision, processes=count)
            arms[f"{name} runs"] = partial(seconds_beside, count, precision=precision)
    readings: dict[str, list[float]] = {name: [] for name in arms}
    begun = time.perf_counter()
    while len(readings[next(iter(arms))]) < 3 or time.perf_counter() - begun < args.seconds:
        for name, arm in arms.items():
            readings[name].append(arm())
    rows = []
    for name, values in readings.items():
        first = name.replace(f", {name.split(', ')[-1]}", f", {args.threads[0]} {name.split()[-1]}")
        ratios = np.array(readings[first][1:]) / np.array(values[1:])  # The first round warms up.
        row = {"arm": name, "images_per_s": 1 / float(np.median(values[1:])), "times_as_fast": float(np.median(ratios))}
        rows.append(row)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()}
    result = {"case": case, "rounds": len(values) - 1, "rows": rows, "machine": machine, "torch": torch.__version__}
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{machine['processor']}, {machine['cores']} cores, torch {torch.__version__}, {case}")
    for row in rows:
        print(f"{row['arm']:30s} {row['images_per_s']:7.1f} images/s {row['times_as_fast']:5.2f} times")


if __name__ == "__main__":
    main()
