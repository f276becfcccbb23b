"""What more threads bring: `python benchmarks/threads.py --host efficientnet-lite0 --threads 1 2`.

One learning step of the peers and of ours, in float32 and in the precision "auto", with each number of threads, all
interleaved in one process. Ratios are medians of those to the same arm with the first number of threads, round by
round. With `--json` one JSON object, and nothing else, is on stdout.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from functools import partial

from reprogram.utils.process import start_torch

NAMES = ("peers", "engine", "half")


def with_threads(count: int, step: Callable[[], object]) -> object:
    """A step with a number of threads."""
    import torch

    torch.set_num_threads(count)
    return step()


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
    from arms import build
    from measure import interleaved

    from reprogram.utils.environment import processor

    case = {"host": args.host, "window": args.window, "batch": args.batch, "num_classes": 10, "train": True}
    steps = {name: build(name, **case) for name in NAMES}
    arms = {f"{name} {count}": partial(with_threads, count, steps[name]) for name in NAMES for count in args.threads}
    times = interleaved(arms, seconds=args.seconds, least=5)
    rows = []
    for name in NAMES:
        first = np.array(times[f"{name} {args.threads[0]}"]["readings_s"])
        for count in args.threads:
            found = times[f"{name} {count}"]
            ratio = float(np.median(first / np.array(found["readings_s"])))
            rows.append({"arm": name, "threads": count, "median_s": found["median_s"], "times_as_fast": ratio})
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()}
    result = {"case": case, "rounds": times[f"engine {args.threads[0]}"]["rounds"], "rows": rows, "machine": machine}
    result |= {"torch": torch.__version__}
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{machine['processor']}, {machine['cores']} cores, torch {torch.__version__}, {case}")
    for row in rows:
        rate = args.batch / row["median_s"]
        print(
            f"{row['arm']:7s} {row['threads']} threads {1000 * row['median_s']:7.0f} ms {rate:7.1f} images/s "
            f"{row['times_as_fast']:5.2f} times"
        )


if __name__ == "__main__":
    main()
