"""Workers as processes of this machine, which live until the sweep is done.

Parent and worker speak JSON, a line a message, over the worker's stdin and stdout. A worker whose stdin is closed saves
its cell and ends, so that none outlives its parent, however that ends.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.runconfig import RunConfig
from reprogram.sweep.executors.base import Executor
from reprogram.sweep.worker import Report, attempt, config_from
from reprogram.sweep.workshop import Workshop

GRACE_S = 10.0
"""How long a worker may take to save its cell; it needs two seconds."""
PROGRAM = (
    "import sys; from reprogram.cli.console import start_torch; start_torch(int(sys.argv[1])); "
    "from reprogram.sweep.executors.local import serve; serve(int(sys.argv[1]), sys.argv[2])"
)


def executor(*, address: str, threads: int) -> Executor:
    """Set it up.

    Raises:
        ConfigError: an address, which this machine has none of.
    """
    if address:
        raise ConfigError(f"--address {address}: is of a cluster; add --executor ray, or leave it out")
    return Local(threads)


class Local(Executor):
    """Processes of this machine.

    Args:
        threads: of each.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.processes: list[subprocess.Popen[str]] = []
        self.listeners: list[threading.Thread] = []
        self.reports: queue.SimpleQueue[tuple[int, Report]] = queue.SimpleQueue()
        self.folder = tempfile.TemporaryDirectory(prefix="reprogram-sweep-", ignore_cleanup_errors=True)

    def room(self) -> int:
        """As many as there are GPUs; without any, as the processor's cores allow."""
        return len(_gpus()) or max((os.cpu_count() or 1) // self.threads, 1)

    def start(self) -> int:
        """Start a process."""
        worker = len(self.processes)
        gpus = _gpus()
        own = {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if gpus else {}
        with self._log(worker).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", PROGRAM, str(self.threads), str(Path(self.folder.name) / "tasks")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **own},
                start_new_session=True,  # A terminal's Ctrl-C is for the parent, which ends them in order.
            )
        self.processes.append(process)
        self.listeners.append(threading.Thread(target=self._listen, args=(worker,), daemon=True))
        self.listeners[worker].start()
        return worker

    def give(self, worker: int, config: RunConfig) -> None:
        """Send a cell; that a process is gone is told by its last report."""
        stdin = self.processes[worker].stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(asdict(config)) + "\n")
            stdin.flush()
        except (OSError, ValueError):  # A broken or a closed pipe.
            return

    def report(self) -> tuple[int, Report]:
        """Wait for a line of any process, or its end."""
        return self.reports.get()

    def close(self) -> None:
        """SIGTERM to all; SIGKILL to those that don't answer."""
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
        return Path(self.folder.name) / f"worker{worker}.log"

    def _listen(self, worker: int) -> None:
        process = self.processes[worker]
        assert process.stdout is not None and process.stdin is not None
        for line in process.stdout:
            if line.endswith("\n"):  # The last of a killed process may be torn.
                self.reports.put((worker, Report(**json.loads(line))))
        code = process.wait()
        process.stdout.close()
        with contextlib.suppress(OSError):
            process.stdin.close()
        why = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = self._log(worker).read_text(encoding="utf-8", errors="replace") if self._log(worker).exists() else ""
        last = said.strip().rpartition("\n")[2]
        self.reports.put((worker, Report(kind="lost", text=f"its worker ended with {why}", details=last)))


def _gpus() -> list[str]:
    """The numbers of the GPUs that this process may use."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def serve(threads: int, folder: str) -> None:
    """Be a worker: run cells from stdin until it is closed.

    Args:
        threads: that torch was set up with.
        folder: of the tasks that workers share.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What libraries print isn't a report.

    def tell(report: Report) -> None:
        try:
            out.write(json.dumps(report.to_json()) + "\n")
            out.flush()
        except OSError:
            return  # The parent is gone; its end of stdin says so too.

    signal.signal(signal.SIGTERM, _end)
    cells: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(cells,), daemon=True).start()
    workshop = Workshop(Path(folder))
    tell(Report(kind="ready", text=f"process {os.getpid()}"))
    while True:
        tell(attempt(config_from(cells.get()), threads, workshop, tell))


def _receive(cells: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        cells.put(json.loads(line))
    os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)
