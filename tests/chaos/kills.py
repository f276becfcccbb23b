"""Kill runs at random moments and see whether each still comes to the same bytes.

python tests/chaos/kills.py --kills 200 --seed 0
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from reprogram import cli
from reprogram.runs.index import RunIndex

OPTIONS = {
    "--host": "linear:40",
    "--task": "squares(train=2000, validation=50, test=50)",
    "--label-map": "bayesian(top_fraction=0.5, images=200)",  # What it heard decides too.
    "--epochs": "6",
    "--baselines": "none",
    "--validations": "20",
    "--threads": "1",
}
CASES: tuple[dict[str, str], ...] = (
    {},
    {"--program": "full", "--label-map": "random", "--loss": "host", "--seed": "3", "--baselines": "map-alone"},
    {
        "--program": "patch(height=9, width=9)",
        "--label-map": "many-to-one(labels_per_class=1)",
        "--batch-size": "7",
        "--engine": "dense",
    },
    {
        "--host": "restricted:linear:40?access=label",
        "--program": "tiles(side=3)",
        "--learner": "spsa",
        "--queries": "4000",
    },
    {"--host": "timm:test_resnet?pretrained=0&size=48&num_classes=16", "--validations": "3", "--epochs": "1"},
)
SHORT = {"--task": "squares(train=400, validation=50, test=50)", "--epochs": "3"}
INTERVALS = ("1", "7", "50", "0.02s", "30s")
PHASES = {"end": "result.json", "writing": "program.safetensors", "learning": "checkpoint.safetensors"}


def command(folder: Path, changes: dict[str, str]) -> list[str]:
    """What runs it, with these options changed."""
    return [sys.executable, "-m", "reprogram", *arguments(folder, changes)]


def arguments(folder: Path, changes: dict[str, str]) -> list[str]:
    """Those of the command line."""
    options = {**OPTIONS, "--out": str(folder), **changes}
    return ["fit", "--quiet", *(word for pair in options.items() for word in pair)]


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


class Run:
    """A run in a child of this process, which has imported all that takes long: what is killed is the run.

    Args:
        folder: of the run.
        changes: of the options.
    """

    def __init__(self, folder: Path, changes: dict[str, str]) -> None:
        self.complaints = folder.with_suffix(".stderr")
        self.pid, self.status = os.fork(), -1
        if self.pid == 0:
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(os.open(self.complaints, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
                code = cli.main(arguments(folder, changes))
            finally:
                os._exit(code)

    def ended(self, seconds: float) -> bool:
        """Whether it ends by itself within that time."""
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.0005)

    def kill(self) -> bool:
        """Kill it; whether it still went on."""
        os.kill(self.pid, signal.SIGKILL)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status == -signal.SIGKILL

    def complaint(self) -> str:
        """What it said, if it failed."""
        return "" if self.status in (0, -signal.SIGKILL) else self.complaints.read_text() or f"exit {self.status}"


def whole(folder: Path, changes: dict[str, str]) -> tuple[bytes, float]:
    """The program of an uninterrupted run, and the seconds that it took."""
    began = time.monotonic()
    run = Run(folder, changes)
    if not run.ended(600) or run.complaint():
        sys.exit(f"the uninterrupted run failed: {run.complaint()}")
    return (folder / "program.safetensors").read_bytes(), time.monotonic() - began


def spoilt(folder: Path, expected: bytes) -> str:
    """What is wrong with a finished run's folder and its index."""
    program = folder / "program.safetensors"
    if not program.exists() or program.read_bytes() != expected:
        return "another program"
    left = [path.name for path in folder.iterdir() if path.name.startswith((".", "lock", "checkpoint", "answers"))]
    states = [record["state"] for record in RunIndex(folder.parent).runs() if record["name"] == folder.name]
    return f"left {left}" if left else "" if states == ["finished"] else f"the store says {states}"


def chaos(kills: int, seed: int, folder: Path) -> tuple[int, int]:
    """Kill runs that many times, each once or more, at random moments: one in each of as many equal parts of a run.

    Returns:
        How many kills were of runs that came to the same bytes as without them, and how many were of others.
    """
    chance = random.Random(seed)
    with contextlib.redirect_stdout(io.StringIO()):  # All is imported, once.
        cli.main(arguments(folder / "first", SHORT | {"--epochs": "0.1", "--host": CASES[-1]["--host"]}))
    references = [whole(folder / f"whole{i}", SHORT | case) for i, case in enumerate(CASES)]
    moments = [1.2 * (part + chance.random()) / kills for part in range(kills)]
    chance.shuffle(moments)
    exact = corrupt = number = 0
    phases: Counter[str] = Counter()
    while exact + corrupt < kills:
        number += 1
        which = number % len(CASES)
        (expected, duration), place = references[which], folder / f"run{number}"

        def again(place: Path = place, which: int = which) -> Run:
            return Run(place, SHORT | CASES[which] | {"--checkpoint-every": chance.choice(INTERVALS)})

        done, complaint = 0, ""
        for _ in range(min(chance.choice((1, 1, 1, 2, 3)), kills - exact - corrupt)):
            run = again()
            moment = moments.pop() if moments else chance.uniform(0, 1)
            if not run.ended(moment * duration) and run.kill():
                done += 1  # One that was through before isn't counted.
                phases[next((name for name, file in PHASES.items() if (place / file).exists()), "start")] += 1
            complaint = complaint or run.complaint()
        run = again()
        complaint = complaint or ("" if run.ended(600) else "it hangs") or run.complaint() or spoilt(place, expected)
        exact, corrupt = (exact, corrupt + done) if complaint else (exact + done, corrupt)
        if complaint:
            print(f"{place}, case {which}: {complaint}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        if number % 20 == 0:
            print(f"{exact + corrupt} of {kills} kills", file=sys.stderr, flush=True)
    print("killed in:", ", ".join(f"{name} {count}" for name, count in sorted(phases.items())))
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
