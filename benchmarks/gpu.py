"""Learning steps on a GPU: six untrained hosts, three sizes of batch, ours beside the peers' step; `make gpu` runs it.

Each case becomes one file in the format of step.py, whose command repeats it. Without a GPU it says so and exits 0. All
cases run in one process, since starting one takes longer than measuring.
"""

import argparse
import gc
import json
import re
import sys
from pathlib import Path

import step

from reprogram.utils.files import write_atomic

RESULTS = step.ROOT / "results" / "bench-gpu"
HOSTS = (
    "torchvision:resnet18?pretrained=0",
    "torchvision:resnet50?pretrained=0",
    "torchvision:squeezenet1_1?pretrained=0",
    "torchvision:mobilenet_v2?pretrained=0",
    "timm:tf_efficientnet_lite0?pretrained=0",
    "torchvision:inception_v3?pretrained=0",
)
BATCHES = (16, 128, 512)
ARMS = "peers,autocast,folded,engine,half"
SECONDS = 3.0
"""Of measuring a case, beside five rounds."""


def main() -> int:
    """Measure every case that isn't there."""
    parser = argparse.ArgumentParser(description="Learning steps on a GPU.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--seconds", type=step.duration, default=SECONDS, help="of measuring a case")
    out, seconds = (getattr(parser.parse_args(), name) for name in ("out", "seconds"))
    import torch

    if not torch.cuda.is_available():
        print("there is no GPU here, so nothing was measured", file=sys.stderr)
        return 0
    for host in HOSTS:
        for batch in BATCHES:
            slug = re.sub(r"[^a-z0-9]+", "-", host.lower().replace("pretrained=0", "")).strip("-")
            path = out / f"{slug}.train.window28.batch{batch}.json"
            if path.exists():
                continue
            words = [
                "--host",
                host,
                "--batch",
                str(batch),
                "--arms",
                ARMS,
                "--device",
                "cuda",
                "--seconds",
                f"{seconds:g}",
            ]
            result = step.case(step.parser().parse_args(words))
            write_atomic(path, (json.dumps(result, indent=2) + "\n").encode())
            step.show(result)
            gc.collect()
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
