"""Workers as processes of this machine, which run until the sweep is done.

Parent and worker exchange JSON, a line a message, over the worker's stdin and stdout. A worker whose stdin is closed
saves its cell and ends, so that none outlives its parent, however the parent ends.
"""

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.hosts._consent import authorised
from reprogram.runs.config import RunConfig
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.loader import CachedLoader
from reprogram.sweep.scratch import ScratchFolder
from reprogram.sweep.worker import WorkerMessage, attempt, config_from
from reprogram.training.signals import answered_signals

GRACE_S = 10.0
"""Time that a worker may take to save its cell; it needs two seconds."""
LOOK_EVERY_S = 0.5
"""Time between two looks at workers that may be silent for too long."""
PROGRAM = (
    "import sys; from reprogram.utils.process import start_torch; start_torch(int(sys.argv[1])); "
    "from reprogram.hosts._consent import authorise; authorise(*sys.argv[3:]); "
    "from reprogram.sweep.executors.local import serve; serve(int(sys.argv[1]), sys.argv[2])"
)


def executor(*, address: str, threads: int) -> Executor:
    """Set up workers on this machine.

    Args:
        address: empty; only clusters have one.
        threads: the number of CPU threads of each worker.

    Raises:
        ConfigError: an address is given.
    """
    if address:
        raise ConfigError(f"--address {address}: is of a cluster; add --executor ray, or leave it out")
    return Local(threads)


class Local(Executor):
    """Processes of this machine.

    Args:
        threads: the number of CPU threads of each.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.processes: list[subprocess.Popen[str]] = []
        self.listeners: list[threading.Thread] = []
        self.messages: queue.SimpleQueue[tuple[int, WorkerMessage]] = queue.SimpleQueue()
        self.received: collections.deque[tuple[int, WorkerMessage]] = collections.deque()
        self.folder = ScratchFolder()
        self.heard: dict[int, float] = {}  # When each worker that runs a cell last sent a message.

    def capacity(self) -> int:
        """The number of GPUs; without any, the number of CPU cores over the threads of each worker."""
        return len(_gpus()) or max((os.cpu_count() or 1) // self.threads, 1)

    def start(self) -> int:
        """Start a process."""
        worker = len(self.processes)
        gpus = _gpus()
        visible = {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if gpus else {}
        with self._log(worker).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-c",
                    PROGRAM,
                    str(self.threads),
                    str(self.folder.path / "tasks"),
                    *authorised(),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **visible},
                start_new_session=True,  # A terminal's Ctrl-C is for the parent, which ends them in order.
            )
        self.processes.append(process)
        self.listeners.append(threading.Thread(target=self._listen, args=(worker,), daemon=True))
        self.listeners[worker].start()
        return worker

    def submit(self, worker: int, config: RunConfig) -> None:
        """Send a cell to a process; if the process is gone, `_listen` notices it."""
        self.heard[worker] = time.monotonic()
        stdin = self.processes[worker].stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(asdict(config)) + "\n")
            stdin.flush()
        except (OSError, ValueError):  # A broken or a closed pipe.
            return

    def next_message(self) -> tuple[int, WorkerMessage]:
        """Wait for a line of any process, or for the end of one; a process that is silent for too long is ended."""
        while True:
            self._receive()
            for worker, since in self.heard.items():
                if self.silence_s is not None and time.monotonic() - since > self.silence_s:
                    del self.heard[worker]
                    self.processes[worker].kill()
                    text = f"gave no sign of life for {self.silence_s:g} seconds, and was ended; does the host answer?"
                    return worker, WorkerMessage(kind="failed", text=text, ended=True)
            if self.received:
                return self.received.popleft()

    def _receive(self) -> None:
        """Take all messages that are there; where none is left to be handled, wait for one, but not for long."""
        with contextlib.suppress(queue.Empty):
            patience = None if self.silence_s is None else LOOK_EVERY_S
            while True:
                waits = not self.received
                worker, message = self.messages.get(block=waits, timeout=patience if waits else None)
                self.received.append((worker, message))
                if message.kind == "running":
                    self.heard[worker] = time.monotonic()
                else:
                    self.heard.pop(worker, None)

    def close(self) -> None:
        """Send SIGTERM to all processes, and SIGKILL to those that don't end in time."""
        for process in self.processes:
            process.terminate()
        end = time.monotonic() + GRACE_S
        for process in self.processes:
            try:
                process.wait(max(end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for listener in self.listeners:
            listener.join()
        self.folder.cleanup()

    def _log(self, worker: int) -> Path:
        return self.folder.path / f"worker{worker}.log"

    def _listen(self, worker: int) -> None:
        """Put a process's messages into the queue until it ends, and then the message that it is lost."""
        process = self.processes[worker]
        assert process.stdout is not None and process.stdin is not None
        for line in process.stdout:
            if line.endswith("\n"):  # A killed process may leave its last line unfinished.
                self.messages.put((worker, WorkerMessage(**json.loads(line))))
        code = process.wait()
        process.stdout.close()
        with contextlib.suppress(OSError):
            process.stdin.close()
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        log = self._log(worker).read_text(encoding="utf-8", errors="replace") if self._log(worker).exists() else ""
        last_line = log.strip().rpartition("\n")[2]
        message = WorkerMessage(kind="lost", text=f"its worker ended with {reason}", details=last_line)
        self.messages.put((worker, message))


def _gpus() -> list[str]:
    """The numbers of the GPUs that this process may use."""
    import torch

    count = torch.cuda.device_count()
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (names or [str(number) for number in range(count)])[:count]


def serve(threads: int, folder: str) -> None:
    """Run cells from stdin until it is closed: the main function of a worker.

    Args:
        threads: the number of CPU threads that torch was set up with.
        folder: the folder of the decoded tasks that workers share.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Output of libraries goes to stderr; stdout has messages only.

    def tell(message: WorkerMessage) -> None:
        try:
            out.write(json.dumps(message.to_json()) + "\n")
            out.flush()
        except OSError:
            return  # The parent is gone, so stdin is closed too.

    signal.signal(signal.SIGTERM, _end)
    cells: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    loader = CachedLoader(Path(folder))
    with answered_signals():  # Where SystemExit is lost, as in an object's finalizer, the process ends all the same.
        threading.Thread(target=_receive, args=(cells,), daemon=True).start()
        tell(WorkerMessage(kind="ready", text=f"process {os.getpid()}"))
        while True:
            tell(attempt(config_from(cells.get()), threads, loader, tell))


def _receive(cells: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Put the cells from stdin into the queue; end this process by SIGTERM when stdin is closed."""
    for line in sys.stdin:
        cells.put(json.loads(line))
    os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)
