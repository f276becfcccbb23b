"""Workers as actors of a Ray cluster: `pip install 'reprogram[ray]'`.

All nodes see the run folders, and the working folder, at the same place, and have `reprogram` installed. Driver and
workers meet at a board, an actor too: workers say how it goes, and learn there that they shall stop.
"""

import contextlib
import os
import platform
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.runconfig import RunConfig
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.worker import Report, attempt, config_from
from reprogram.sweep.workshop import Workshop

POLL_S = 0.5
CONNECT_S = 10.0
GRACE_S = 15.0
"""How long workers may take to save their cells."""


def executor(*, address: str, threads: int) -> Executor:
    """Connect to a cluster; without an address, to the one of `RAY_ADDRESS` or a new one on this machine.

    Raises:
        ConfigError: Ray isn't installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing is sent to anyone.
    try:
        import ray
    except ImportError:
        raise ConfigError("--executor ray needs the package ray; pip install 'reprogram[ray]'") from None
    address = address or os.environ.get("RAY_ADDRESS", "")
    _require_listener(address)
    there = {"address": address} if address else {"include_dashboard": False}
    with _own_handlers():
        try:
            ray.init(**there, log_to_driver=False, logging_level="ERROR", namespace=secrets.token_hex(8))
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"--address {address}: no Ray cluster to be reached there ({reason})") from None
    return Cluster(threads)


def _require_listener(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself would end the process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return  # "auto" or "local".
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--address {address}: no Ray cluster to be reached there ({error})") from None


class Cluster(Executor):
    """Actors of the cluster that this process is connected to.

    Args:
        threads: of each, for which as many of Ray's CPUs are asked for; and a GPU, where the cluster has any.
    """

    def __init__(self, threads: int) -> None:
        import ray

        self.ray, self.threads = ray, threads
        self.quiet = contextlib.ExitStack()
        self.quiet.enter_context(contextlib.redirect_stdout(sys.stderr))  # What Ray prints is no result.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=ray.get_runtime_context().get_node_id(), soft=False
        )  # The board must not be on a node that may be lost while this process goes on.
        self.board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
        resources = ray.cluster_resources()
        self.gpus, self.cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
        self.actor_type = ray.remote(num_cpus=threads, num_gpus=min(self.gpus, 1))(Actor)
        self.place = f"reprogram-sweep-{secrets.token_hex(8)}"
        self.actors: list[Any] = []
        self.awaited: dict[Any, int] = {}  # What is to come, and from whom.
        self.reports: deque[tuple[int, Report]] = deque()

    def room(self) -> int:
        """As many as there are GPUs; without any, as the cluster's CPUs allow."""
        return self.gpus or max(self.cpus // self.threads, 1)

    def start(self) -> int:
        """Ask for an actor; it's there as soon as the cluster has room."""
        worker = len(self.actors)
        self.actors.append(self.actor_type.remote(worker, self.threads, str(Path.cwd()), self.place, self.board))
        self.awaited[self.actors[worker].ready.remote()] = worker
        return worker

    def give(self, worker: int, config: RunConfig) -> None:
        """Call the actor."""
        self.awaited[self.actors[worker].run.remote(asdict(config))] = worker

    def report(self) -> tuple[int, Report]:
        """Wait for a call's end; meanwhile read what is on the board."""
        while not self.reports:
            done, _ = self.ray.wait(list(self.awaited), timeout=POLL_S)
            told: dict[int, dict[str, Any]] = {}
            with contextlib.suppress(self.ray.exceptions.RayError):  # Progress only; the calls say what came of them.
                told = self.ray.get(self.board.read.remote())
            self.reports += [(worker, Report(**told[worker])) for worker in self.awaited.values() if worker in told]
            for call in done:
                worker = self.awaited.pop(call)
                report = self._result(call)
                if report.kind == "lost":
                    self.ray.kill(self.actors[worker])
                self.reports.append((worker, report))
        return self.reports.popleft()

    def close(self) -> None:
        """Have all stop, and end them."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.board.stop.remote()
            ends = [actor.close.remote() for actor in self.actors]  # Each after the call that goes on.
            self.ray.wait(ends, num_returns=max(len(ends), 1), timeout=GRACE_S) if ends else None
        for actor in self.actors:
            self.ray.kill(actor)
        self.ray.shutdown()
        self.quiet.close()

    def _result(self, call: Any) -> Report:
        try:
            return Report(**self.ray.get(call))
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            return Report(kind="lost", text="its worker is gone", details=lines[-1] if lines else "")


class Board:
    """Where workers say how it goes, and are told to stop."""

    def __init__(self) -> None:
        self.told: dict[int, dict[str, Any]] = {}
        self.stopped = False

    def tell(self, worker: int, report: dict[str, Any]) -> bool:
        """Leave a report; whether to stop."""
        self.told[worker] = report
        return self.stopped

    def read(self) -> dict[int, dict[str, Any]]:
        """Take what was left since the last time, by worker."""
        told, self.told = self.told, {}
        return told

    def stop(self) -> None:
        """Have every worker stop that asks from now on."""
        self.stopped = True


class Actor:
    """A worker.

    Args:
        number: by which the driver knows it.
        threads: of torch.
        folder: to work in, the driver's.
        place: name of the temporary folder of tasks that the workers of a node share.
        board: the board.
    """

    def __init__(self, number: int, threads: int, folder: str, place: str, board: Any) -> None:
        from reprogram.cli.console import start_torch

        os.chdir(folder)
        start_torch(threads)
        self.number, self.threads, self.board = number, threads, board
        self.tasks = Path(tempfile.gettempdir()) / place
        self.workshop = Workshop(self.tasks)

    def ready(self) -> dict[str, Any]:
        """Where it is."""
        return Report(kind="ready", text=f"process {os.getpid()} on {platform.node()}").to_json()

    def run(self, values: dict[str, Any]) -> dict[str, Any]:
        """Run a cell."""
        try:
            return attempt(config_from(values), self.threads, self.workshop, self._tell).to_json()
        except (SystemExit, KeyboardInterrupt):
            return Report(kind="lost", text="its worker was told to stop").to_json()

    def close(self) -> None:
        """Remove what this node's workers shared; one that still works has it open."""
        shutil.rmtree(self.tasks, ignore_errors=True)

    def _tell(self, report: Report) -> None:
        import ray

        if ray.get(self.board.tell.remote(self.number, report.to_json())):
            signal.raise_signal(signal.SIGTERM)  # As if the system said so: the cell is saved.


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
