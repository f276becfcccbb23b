"""Kill runs at random moments and see whether each still comes to the same bytes.

python tests/chaos/kills.py --kills 200 --seed 0
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = {
    "--host": "linear:40",
    "--task": "squares(train=2000, validation=50, test=50)",
    "--label-map": "bayesian(top_fraction=0.5, images=200)",  # What it heard decides too.
    "--epochs": "6",
    "--baselines": "none",
    "--validations": "20",
    "--threads": "1",
}
MAX_TRIES = 20
INTERVALS = ("1", "7", "50", "0.02s", "30s")


def command(folder: Path, changes: dict[str, str]) -> list[str]:
    """What runs it, with these options changed."""
    options = {**OPTIONS, "--out": str(folder), **changes}
    return [sys.executable, "-m", "reprogram", "fit", "--quiet", *(word for pair in options.items() for word in pair)]


def start(folder: Path, changes: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The run, in a process of its own."""
    return subprocess.Popen(
        command(folder, changes or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for it; what it complained about if it failed."""
    complaint = process.communicate(timeout=300)[1]
    return complaint.strip() if process.returncode else ""


def chaos(kills: int, seed: int, folder: Path) -> tuple[int, int]:
    """Kill that many runs, each once or more; how many came to the same bytes, and how many were spoilt."""
    chance = random.Random(seed)
    began = time.monotonic()
    whole = folder / "whole"
    complaint = finish(start(whole))
    duration = time.monotonic() - began
    if complaint:
        sys.exit(f"the uninterrupted run failed: {complaint}")
    expected = (whole / "program.safetensors").read_bytes()
    done = exact = corrupt = 0
    while done < kills:
        run = folder / f"run{done}"
        spoilt = ""
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            process = start(run, {"--checkpoint-every": chance.choice(INTERVALS)})
            try:
                process.wait(timeout=chance.uniform(0, duration))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            complaint = process.communicate()[1]
            if process.returncode not in (0, -signal.SIGKILL):
                spoilt = complaint
            done += 1
        spoilt = spoilt or finish(start(run, {"--checkpoint-every": chance.choice(INTERVALS)}))
        same = not spoilt and (run / "program.safetensors").read_bytes() == expected
        left = [path.name for path in run.iterdir() if path.name.startswith((".", "lock", "checkpoint"))]
        if same and not left:
            exact += done - exact - corrupt
        else:
            corrupt += done - exact - corrupt
            print(f"{run}: {spoilt or left or 'another program'}", flush=True)
        shutil.rmtree(run)
    return exact, corrupt


def main() -> int:
    """Run it from the shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reprogram-chaos-") as folder:
        exact, corrupt = chaos(options.kills, options.seed, Path(folder))
    print(f"kills={exact + corrupt} exact={exact} corrupt={corrupt}")
    return 0 if corrupt == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
