"""Workers as actors of a Ray cluster: `pip install 'reprogram[ray]'`.

All nodes see the run folders and the working folder at the same paths, and have `reprogram` installed. Driver and
workers communicate by a message board, an actor too: workers leave messages there and learn that they shall stop.
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
from reprogram.hosts._consent import authorise, authorised
from reprogram.runs.config import RunConfig
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.loader import CachedLoader
from reprogram.sweep.worker import WorkerMessage, attempt, config_from

POLL_S = 0.5
CONNECT_S = 10.0
GRACE_S = 15.0
"""Time that workers may take to save their cells."""


def executor(*, address: str, threads: int) -> Executor:
    """Connect to a cluster.

    Args:
        address: the cluster's address; empty for that of `RAY_ADDRESS`, or a new cluster on this machine.
        threads: the number of CPU threads of each worker.

    Raises:
        ConfigError: Ray isn't installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send usage statistics.
    try:
        import ray
    except ImportError:
        raise ConfigError("--executor ray needs the package ray; pip install 'reprogram[ray]'") from None
    address = address or os.environ.get("RAY_ADDRESS", "")
    _require_listener(address)
    options = {"address": address} if address else {"include_dashboard": False}
    with _own_handlers():
        try:
            ray.init(**options, log_to_driver=False, logging_level="ERROR", namespace=secrets.token_hex(8))
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"--address {address}: no Ray cluster to be reached there ({reason})") from None
    return Cluster(threads)


def _require_listener(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would end the process."""
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
        threads: the number of CPU threads of each actor, which asks for as many of Ray's CPUs, and for a GPU where the
            cluster has any.
    """

    def __init__(self, threads: int) -> None:
        import ray

        self.ray, self.threads = ray, threads
        self.quiet = contextlib.ExitStack()
        self.quiet.enter_context(contextlib.redirect_stdout(sys.stderr))  # Ray's output is no result.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=ray.get_runtime_context().get_node_id(), soft=False
        )  # The board must be on this process's node: any other node may be lost.
        self.board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
        resources = ray.cluster_resources()
        self.gpus, self.cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
        self.actor_type = ray.remote(num_cpus=threads, num_gpus=min(self.gpus, 1))(Actor)
        self.folder_name = f"reprogram-sweep-{secrets.token_hex(8)}"
        self.actors: list[Any] = []
        self.pending: dict[Any, int] = {}  # The worker of each call that hasn't returned.
        self.messages: deque[tuple[int, WorkerMessage]] = deque()

    def capacity(self) -> int:
        """The number of GPUs; without any, the number of the cluster's CPUs over the threads of each worker."""
        return self.gpus or max(self.cpus // self.threads, 1)

    def start(self) -> int:
        """Ask for an actor, which starts as soon as the cluster has room."""
        worker = len(self.actors)
        self.actors.append(
            self.actor_type.remote(worker, self.threads, str(Path.cwd()), self.folder_name, self.board, authorised())
        )
        self.pending[self.actors[worker].ready.remote()] = worker
        return worker

    def submit(self, worker: int, config: RunConfig) -> None:
        """Call the actor."""
        self.pending[self.actors[worker].run.remote(asdict(config))] = worker

    def next_message(self) -> tuple[int, WorkerMessage]:
        """Wait for the end of a call, or for a message on the board."""
        while not self.messages:
            done, _ = self.ray.wait(list(self.pending), timeout=POLL_S)
            progress: dict[int, dict[str, Any]] = {}
            with contextlib.suppress(self.ray.exceptions.RayError):  # Progress alone: calls return their own results.
                progress = self.ray.get(self.board.read.remote())
            running = [worker for worker in self.pending.values() if worker in progress]
            self.messages += [(worker, WorkerMessage(**progress[worker])) for worker in running]
            for call in done:
                worker = self.pending.pop(call)
                message = self._result(call)
                if message.kind == "lost":
                    self.ray.kill(self.actors[worker])
                self.messages.append((worker, message))
        return self.messages.popleft()

    def close(self) -> None:
        """Have all actors save their cells and stop, and end them."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.board.stop.remote()
            calls = [actor.close.remote() for actor in self.actors]  # Each waits for the call that its actor runs.
            self.ray.wait(calls, num_returns=max(len(calls), 1), timeout=GRACE_S) if calls else None
        for actor in self.actors:
            self.ray.kill(actor)
        self.ray.shutdown()
        self.quiet.close()

    def _result(self, call: Any) -> WorkerMessage:
        """The message that a call returned; "lost" where the call failed."""
        try:
            return WorkerMessage(**self.ray.get(call))
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            return WorkerMessage(kind="lost", text="its worker is gone", details=lines[-1] if lines else "")


class Board:
    """The message board: it holds each worker's newest message, and whether workers shall stop."""

    def __init__(self) -> None:
        self.messages: dict[int, dict[str, Any]] = {}
        self.stopped = False

    def tell(self, worker: int, message: dict[str, Any]) -> bool:
        """Leave a message.

        Args:
            worker: the worker's number.
            message: the fields of a `WorkerMessage`.

        Returns:
            Whether the worker shall stop.
        """
        self.messages[worker] = message
        return self.stopped

    def read(self) -> dict[int, dict[str, Any]]:
        """Take the messages that were left since the last call, by worker."""
        messages, self.messages = self.messages, {}
        return messages

    def stop(self) -> None:
        """Have every worker stop that leaves a message from now on."""
        self.stopped = True


class Actor:
    """A worker.

    Args:
        number: the worker's number.
        threads: the number of CPU threads of torch.
        folder: the driver's working folder, which becomes the worker's.
        folder_name: the name of the temporary folder of decoded tasks that the workers of a node share.
        board: the message board.
        hosts: elsewhere that the user said they may send images to.
    """

    def __init__(
        self, number: int, threads: int, folder: str, folder_name: str, board: Any, hosts: tuple[str, ...] = ()
    ) -> None:
        from reprogram.utils.process import start_torch

        authorise(*hosts)
        os.chdir(folder)
        start_torch(threads)
        self.number, self.threads, self.board = number, threads, board
        self.tasks = Path(tempfile.gettempdir()) / folder_name
        self.loader = CachedLoader(self.tasks)

    def ready(self) -> dict[str, Any]:
        """A message with the worker's process and machine."""
        return WorkerMessage(kind="ready", text=f"process {os.getpid()} on {platform.node()}").to_json()

    def run(self, values: dict[str, Any]) -> dict[str, Any]:
        """Run a cell.

        Args:
            values: the fields of its configuration.

        Returns:
            The fields of the last message about it.
        """
        try:
            return attempt(config_from(values), self.threads, self.loader, self._send).to_json()
        except (SystemExit, KeyboardInterrupt):
            return WorkerMessage(kind="lost", text="its worker was told to stop").to_json()

    def close(self) -> None:
        """Remove the tasks that this node's workers share; a worker that still runs has them open."""
        shutil.rmtree(self.tasks, ignore_errors=True)

    def _send(self, message: WorkerMessage) -> None:
        """Leave a message at the board; end by SIGTERM if the board says so."""
        import ray

        if ray.get(self.board.tell.remote(self.number, message.to_json())):
            signal.raise_signal(signal.SIGTERM)  # The handler saves the cell.


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
