"""Kill a grid's workers, and now and then the sweep itself, at intervals: every cell must come to the same bytes.

python tests/chaos/sweeps.py --kills 30 --seed 0
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRID = """[grid]
host = ["linear:40", "linear:44"]
task = ["squares(train=2000, validation=50, test=50)", "digits"]
seed = [0, 1]
epochs = {epochs}
validations = 20
baselines = []
"""
PAUSES_S = (1.0, 8.0)
"""Between two kills; a worker needs a few seconds to start."""
OF_ALL = 8
"""Every so many kills, on average, the sweep itself is killed."""


def start(grid: Path, out: Path) -> subprocess.Popen[bytes]:
    """The sweep, with two workers."""
    words = ["sweep", str(grid), "--out", str(out), "--workers", "2", "--json", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "reprogram", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def workers(parent: int) -> list[int]:
    """The processes that the sweep has started."""
    try:
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except FileNotFoundError:
        return []


def programs(out: Path) -> dict[str, bytes]:
    """Each cell's program."""
    return {path.parent.name: path.read_bytes() for path in out.glob("*/program.safetensors")}


def disturb(grid: Path, out: Path, kills: int, chance: random.Random, pauses: tuple[float, float]) -> tuple[int, str]:
    """Run a grid to its end while its workers are killed; how many were, and what went wrong."""
    done = 0
    process = start(grid, out)
    while True:
        try:
            process.wait(timeout=chance.uniform(*pauses) if done < kills else None)
            break
        except subprocess.TimeoutExpired:
            victims = workers(process.pid)
        if victims and chance.randrange(OF_ALL):
            os.kill(chance.choice(victims), signal.SIGKILL)
            done += 1
        elif victims:
            process.kill()
            process.communicate()
            done += 1
            process = start(grid, out)
    text, complaint = process.communicate()
    if process.returncode:
        return done, complaint.decode().strip()
    bad = [cell["name"] for cell in json.loads(text) if cell["state"] not in ("finished", "already")]
    left = [str(path) for path in out.glob("*/*") if path.name.startswith((".", "lock", "checkpoint"))]
    return done, " ".join(bad + left)


def chaos(
    kills: int, seed: int, epochs: int, folder: Path, pauses: tuple[float, float] = PAUSES_S
) -> tuple[int, int, int]:
    """Kill that many workers; how many were killed, and how many cells came to the same bytes or didn't."""
    chance = random.Random(seed)
    grid = folder / "grid.toml"
    grid.write_text(GRID.format(epochs=epochs))
    complaint = disturb(grid, folder / "whole", 0, chance, pauses)[1]
    if complaint:
        sys.exit(f"the undisturbed grid failed: {complaint}")
    expected = programs(folder / "whole")
    done = exact = corrupt = 0
    while done < kills:
        out = folder / f"out{done}"
        begun = time.monotonic()
        killed, complaint = disturb(grid, out, kills - done, chance, pauses)
        got = programs(out)
        same = sum(got.get(name) == program for name, program in expected.items())
        exact, corrupt, done = exact + same, corrupt + len(expected) - same, done + killed
        if complaint:
            corrupt += 1
            print(complaint, flush=True)
        print(f"{killed} kills in {time.monotonic() - begun:.0f} s, {same} of {len(expected)} exact", flush=True)
    return done, exact, corrupt


def main() -> int:
    """Run it from the shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reprogram-chaos-") as folder:
        done, exact, corrupt = chaos(options.kills, options.seed, options.epochs, Path(folder))
    print(f"kills={done} cells={exact + corrupt} exact={exact} corrupt={corrupt}")
    return 0 if corrupt == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
