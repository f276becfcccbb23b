"""Measure the list of cases: each is one call of step.py in a fresh process and one file under results/bench/.

`make bench` runs it and writes the documentation's tables anew. Cases that are there already are skipped.
"""

import argparse
import fnmatch
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from reprogram.utils.files import write_atomic

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "bench"
STEP = Path(__file__).with_name("step.py")

# Of the last two no gain is expected: attention mixes all positions, and so does squeeze-and-excitation.
HOSTS = (
    "torchvision:mobilenet_v2?pretrained=0",
    "efficientnet-lite0",
    "torchvision:squeezenet1_1?pretrained=0",
    "torchvision:resnet18?pretrained=0",
    "torchvision:resnet50?pretrained=0",
    "torchvision:inception_v3?pretrained=0",
    "torchvision:densenet121?pretrained=0",
    "torchvision:regnet_x_800mf?pretrained=0",
    "torchvision:convnext_tiny?pretrained=0",
    "timm:vit_small_patch16_224?pretrained=0",
    "torchvision:efficientnet_b0?pretrained=0",
)
GROWTH_HOST = "torchvision:mobilenet_v2?pretrained=0"
WINDOWS = (28, 96, 128)
THREADS = 1


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of step.py, with its defaults."""

    host: str
    window: int = 28
    batch: int = 16
    classes: int = 10
    inference: bool = False

    @property
    def name(self) -> str:
        """What its file is called."""
        host = re.sub(r"[^a-z0-9]+", "-", self.host.lower().replace("pretrained=0", "")).strip("-")
        mode = "inference" if self.inference else "train"
        return f"{host}.{mode}.window{self.window}.batch{self.batch}.classes{self.classes}"

    def arguments(self) -> list[str]:
        """For step.py."""
        found = ["--host", self.host, "--window", str(self.window), "--batch", str(self.batch)]
        found += ["--classes", str(self.classes), "--threads", str(THREADS)]
        return found + ["--inference"] * self.inference


TRAINING = tuple(Case(host=host, window=window) for host in HOSTS for window in WINDOWS)
INFERENCE = tuple(Case(host=host, batch=batch, inference=True) for host in HOSTS for batch in (1, 64))
GROWTH = {
    "images a step": {batch: Case(host=GROWTH_HOST, batch=batch) for batch in (1, 2, 4, 8, 16, 32, 64)},
    "window, pixels": {w: Case(host=GROWTH_HOST, window=w) for w in (14, 28, 56, 96, 128, 160, 192, 224)},
    "canvas, pixels": {
        size: Case(host=GROWTH_HOST if size == 224 else f"{GROWTH_HOST}&size={size}") for size in (96, 160, 224, 320)
    },
    "classes": {classes: Case(host=GROWTH_HOST, classes=classes) for classes in (2, 10, 100, 1000)},
}


def cases() -> dict[str, Case]:
    """Every case once, by name."""
    listed = [*TRAINING, *INFERENCE, *(case for row in GROWTH.values() for case in row.values())]
    return {case.name: case for case in listed}


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the list of cases.")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="shell-style pattern for the names of cases")
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring, a case")
    parser.add_argument("--again", action="store_true", help="measure cases anew that are there already")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(argv)
    chosen = {name: case for name, case in cases().items() if fnmatch.fnmatchcase(name, options.only)}
    if not chosen:
        parser.error(f"no case is named {options.only!r}; --list shows them")
    if options.list:
        print("\n".join(chosen))
        return 0
    failed = []
    for number, (name, case) in enumerate(chosen.items(), start=1):
        path = options.out / f"{name}.json"
        if path.exists() and not options.again:
            print(f"{number}/{len(chosen)} {name}: there already", flush=True)
            continue
        print(f"{number}/{len(chosen)} {name}", flush=True)
        error = measure(case, path, options.seconds)
        if error:
            failed.append(name)
            print(f"  failed: {error}", file=sys.stderr, flush=True)
    if failed:
        print(f"{len(failed)} of {len(chosen)} cases failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(case: Case, path: Path, seconds: float) -> str:
    """Measure a case and store it; the error if it fails, else an empty text."""
    command = [sys.executable, str(STEP), *case.arguments(), "--seconds", f"{seconds:g}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  No input but our list.
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"
    result = json.loads(done.stdout)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(result) + "\n").encode())  # One that is there isn't measured again.
    ratio = result["ratio_engine_over_dense"]
    print(f"  engine over peers {ratio:.2f}, over folded {result['ratio_engine_over_folded']:.2f}", flush=True)
    return ""


if __name__ == "__main__":
    sys.exit(main())
