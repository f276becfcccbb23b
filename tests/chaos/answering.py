"""Kill runs on a host that only answers and counts by itself: the same program, and a bill that is the host's count.

python tests/chaos/answering.py --kills 20 --seed 0

The host writes each request that it gets to a file, before it answers. So its count survives whatever kills the run.
"""

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts._info import HostInfo
from reprogram.hosts.base import Host
from reprogram.runs.config import RunConfig, from_values
from reprogram.runs.execute import Loader, execute

SIZE, LABELS = 40, 12
OPTIONS = {
    "host": "linear:40",  # Its name alone: the loader gives the host that counts.
    "task": "squares(train=80, validation=24, test=24)",
    "program": "tiles(side=3)",
    "label_map": "bayesian(images=40)",
    "learner": "spsa",
    "queries": 900,
    "batch_size": 8,
    "validations": 4,
    "baselines": ["map-alone"],
    "device": "cpu",
    "price": 2.0,
    "keep_answers": True,
}


class CountedHost(AnsweringHost):
    """A linear classifier that writes the number of images of each request to a file before it answers.

    Args:
        count: the file.
        wait_s: how long an answer takes.
        threads: how many requests there may be at once.
        fault: the part of the requests that come to nothing after they were counted, or are refused.
    """

    is_local = False
    images_per_request = 5

    def __init__(self, count: Path, *, wait_s: float = 0.0, threads: int = 1, fault: float = 0.0) -> None:
        info = HostInfo(id="counted", num_classes=LABELS, size=(SIZE, SIZE), access="scores")
        super().__init__(torch.nn.Identity(), info)
        self.count, self.wait_s, self.fault = count, wait_s, fault
        self.concurrent_requests = threads
        self.weight = torch.randn(3 * SIZE * SIZE, LABELS, generator=torch.Generator().manual_seed(0))
        self.chance = random.Random(os.getpid())

    def ask(self, images: Tensor) -> Tensor:
        """Answer at the third attempt at the latest."""
        for attempt in range(3):
            with self.meter.request(len(images), retry=attempt > 0) as sent:
                fault = self.chance.random() if attempt < 2 else 1.0
                if fault < self.fault / 2:
                    write(self.count, "refused", len(images))
                    sent.refused()
                    continue
                write(self.count, "asked", len(images))
                time.sleep(self.wait_s)
                if fault < self.fault:
                    continue  # Timed out: lost.
                sent.answered()
                # Exact sums, whatever the other images of the request.
                return torch.stack([(image.flatten().double() @ self.weight.double()).float() for image in images])
        raise AssertionError


def write(file: Path, what: str, images: int) -> None:
    """Add a line to a file, in one write."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{what} {images}\n".encode())
    os.close(descriptor)


def counted(file: Path) -> dict[str, int]:
    """What the host counted: images that it was asked for, and requests."""
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return {"images": sum(int(n) for what, n in lines if what == "asked"), "requests": len(lines)}


@dataclass
class CountedLoader(Loader):
    """Loads the host that counts, or one that is given."""

    given: Host

    def host(self, config: RunConfig) -> Host:
        """The host."""
        return self.given


def run(folder: Path, host: Host, **changes: Any) -> dict[str, Any]:
    """A whole run, in this process."""
    config = from_values({**OPTIONS, **changes, "out": str(folder)})
    return execute(config, loader=CountedLoader(host))


def killed(folder: Path, host: Host, after_s: float, **changes: Any) -> bool:
    """Start the run in a child, kill it after some seconds; whether it still went on."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run(folder, host, **changes)
        os._exit(0)
    end = time.monotonic() + after_s
    while time.monotonic() < end and os.waitpid(pid, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    return False


def main(kills: int, seed: int, threads: int, folder: Path) -> dict[str, Any]:
    """Kill runs until so many kills hit; what was found wrong, and how much was lost."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    chance = random.Random(seed)
    began = time.monotonic()
    whole = run(folder / "whole", CountedHost(folder / "whole.log", wait_s=0.002, threads=threads))
    seconds = time.monotonic() - began
    expected, wrong, hit, lost, other = (folder / "whole/program.safetensors").read_bytes(), [], 0, 0, 0
    if whole["bill"]["images"] != counted(folder / "whole.log")["images"] or whole["bill"]["lost"]:
        wrong.append("the uninterrupted run's bill isn't the host's count")
    number = 0
    while hit < kills:
        number += 1
        here, log = folder / f"run{number}", folder / f"run{number}.log"
        for _ in range(chance.randint(1, 3)):
            every = chance.choice(["1", "3", "30s"])
            host = CountedHost(log, wait_s=0.002, threads=threads)
            hit += killed(here, host, seconds * chance.random(), checkpoint_every=every)
        result = run(here, CountedHost(log, wait_s=0.002, threads=threads))
        bill, count = result["bill"], counted(log)
        lost += bill["lost"]
        if (here / "program.safetensors").read_bytes() != expected:
            other += 1
            wrong.append(f"run {number}: another program; {bill['lost']} images lost")
        # A request may be noted, and killed before it reached the host: the bill is never below the host's count.
        if bill["images"] != whole["bill"]["images"] or not 0 <= bill["images"] + bill["lost"] - count["images"] <= 20:
            wrong.append(f"run {number}: {bill} for {count}")
    return {"runs": number, "kills": hit, "lost": lost, "other_programs": other, "wrong": wrong}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        found = main(options.kills, options.seed, options.threads, Path(temporary))
    print(json.dumps(found))
    sys.exit(bool(found["wrong"]))
