"""Resident memory and open files of a long run.

python tests/chaos/long_run.py 1000000
"""

import os
import sys
import tempfile
from pathlib import Path

import torch

import reprogram
from reprogram.learners.base import Learner
from reprogram.registry import EmptyConfig
from reprogram.training.results import FitProgress


class Still(Learner):
    """A learner that changes nothing: what is left is the loop itself."""

    Config = EmptyConfig

    def start(self, parameters):
        pass

    def step(self, objective, progress):
        return 0.5

    def state_dict(self):
        return {"moment": torch.zeros(3)}

    def load_state_dict(self, state):
        pass


def measure(steps: int, folder: Path) -> list[tuple[int, int, int]]:
    """Steps, bytes of resident memory and open files, ten times in a run, validations and saves included."""
    images = torch.randint(0, 256, (64, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = reprogram.Split(images=images, labels=torch.arange(64) % 2)
    task = reprogram.Task(name="tiny", train=split, validation=split, test=split, class_names=("a", "b"))
    weight = torch.randn(27, 3, generator=torch.Generator().manual_seed(0))
    host = reprogram.Host.wrap(lambda x: x.flatten(1) @ weight, size=3)
    rows: list[tuple[int, int, int]] = []

    def observe(report: FitProgress) -> None:
        if report.images % (steps // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            rows.append((report.images, pages * os.sysconf("SC_PAGE_SIZE"), len(list(Path("/proc/self/fd").iterdir()))))

    reprogram.fit(
        reprogram.Reprogrammed.build(host, task),
        task,
        learner=Still(EmptyConfig()),
        epochs=steps / 64,
        batch_size=1,
        validations=100,
        checkpoint=folder / "c",
        checkpoint_every=steps // 100,
        on_progress=observe,
    )
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="reprogram-long-") as name:
        for row in measure(int(sys.argv[1]), Path(name)):
            print("{:>9} steps  {:>11} bytes  {} open files".format(*row), flush=True)
