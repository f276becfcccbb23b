"""Forks of this process that learn with it, one core each, and the pipes by which they exchange tensors.

They begin with all that this process has loaded, and share its memory until one of them writes there.
"""

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch
from torch import Tensor

from reprogram.errors import ProcessLostError, ReprogramError
from reprogram.utils.distributed import LOST, ProcessGroup

T = TypeVar("T")

PR_SET_PDEATHSIG = 1
"""The call of Linux's prctl that has a process killed when the one that forked it ends."""


def can_fork() -> bool:
    """Whether forks of this process can compute gradients: on Linux, where no GPU's threads are in the way."""
    return sys.platform == "linux" and not torch.cuda.is_available()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """In the block torch computes with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ForkedGroup(ProcessGroup):
    """The main process and its forks, as one of them sees them.

    Args:
        rank: this process's number; 0 is the main one.
        size: the number of processes.
        pipes: the main process's to each fork, by rank; a fork's to the main process.
        reports: the pipes by which the main process learns what error ended a fork; none in a fork.
        stopping: a byte that all processes share; 1 where one of them got a signal that ends the run.
    """

    def __init__(
        self, rank: int, size: int, pipes: list[Connection], reports: list[Connection], stopping: mmap.mmap
    ) -> None:
        super().__init__(rank, size)
        self.pipes, self.reports, self.stopping = pipes, reports, stopping

    def should_stop(self, pending: list[int]) -> bool:
        """Whether this process or another of them got a signal: the others needn't finish what is given up then."""
        if pending:
            self.stopping[0] = 1
        return bool(self.stopping[0])

    @contextlib.contextmanager
    def _reaching_all(self) -> Iterator[None]:
        """Raise the error that ended a fork, or a `ProcessLostError` where none is known."""
        try:
            yield
        except (OSError, EOFError) as error:
            raise (self._reported() or ProcessLostError(LOST)) from error

    def _reported(self) -> BaseException | None:
        """The error that ended a fork; None where it ended otherwise."""
        for report in self.reports:
            with contextlib.suppress(OSError, EOFError):
                if report.poll():
                    error: BaseException = _received(report)
                    return error
        return None

    def _add_up(self, values: Tensor) -> None:
        if not self.is_main:
            self.pipes[0].send_bytes(_bytes(values))
            _receive_into(self.pipes[0], values)
            return
        summand = torch.empty_like(values)
        for pipe in self.pipes:
            _receive_into(pipe, summand)
            values += summand
        for pipe in self.pipes:
            pipe.send_bytes(_bytes(values))

    def _gather(self, value: T) -> list[T]:
        if not self.is_main:
            _send(self.pipes[0], value)
        values = [value, *(_received(pipe) for pipe in self.pipes)] if self.is_main else []
        return self._spread(values)

    def _spread(self, values: list[Any]) -> list[Any]:
        if not self.is_main:
            received: list[Any] = _received(self.pipes[0])
            return received
        for pipe in self.pipes:
            _send(pipe, values)
        return values


@contextlib.contextmanager
def forked(size: int) -> Iterator[ProcessGroup]:
    """Run the block in this process and in forks of it, with one thread each; only this process comes out of it.

    A fork prints nothing. An error that ends it is raised by the next exchange of the main process; so is its end by a
    signal. It ends with this process, however that ends.

    Args:
        size: the number of processes, at least 2.

    Yields:
        The group; each process has its own rank.

    Raises:
        ProcessLostError: the system starts no further process; none is left.
    """
    pairs, reports = [Pipe() for _ in range(size - 1)], [Pipe(duplex=False) for _ in range(size - 1)]
    stopping, threads, forks = mmap.mmap(-1, 1), torch.get_num_threads(), []
    ours = [reading for reading, _ in reports]
    try:
        torch.set_num_threads(1)  # OpenMP's other threads don't live on in a fork.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError, OSError):  # It is none, closed, or broken.
                stream.flush()
        parent = os.getpid()
        for rank, (pair, report) in enumerate(zip(pairs, reports, strict=True), start=1):
            with _signals_held() as mask:
                fork = _fork()
                if fork == 0:
                    group = ForkedGroup(rank, size, [pair[1]], [], stopping)
                    closed = [end for ends in (*pairs, *reports) for end in ends if end not in (pair[1], report[1])]
                    yield from _in_fork(group, report[1], closed, parent, mask)
            forks.append(fork)
        for other in (*(other for _, other in pairs), *(writing for _, writing in reports)):
            other.close()
        yield ForkedGroup(0, size, [own for own, _ in pairs], ours, stopping)
    finally:
        torch.set_num_threads(threads)
        for end in (*(own for own, _ in pairs), *ours):
            end.close()
        for fork in forks:
            _end(fork)


@contextlib.contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """In the block no signal reaches this thread; a fork that begins there lets them through when it is ready."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield mask  # type: ignore[misc]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _fork() -> int:
    """The new process's number, or 0 in that process."""
    with warnings.catch_warnings():  # From Python 3.12 on it warns of other threads, none of which a fork needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return os.fork()
        except OSError as error:
            raise ProcessLostError(
                f"no further process can be started ({error.strerror}); give fewer threads"
            ) from None


def _in_fork(
    group: ForkedGroup, report: Connection, closed: list[Connection], parent: int, mask: set[signal.Signals]
) -> Iterator[Any]:
    """Run the block in a fork, and end the fork with it.

    Args:
        group: as the fork sees it.
        report: where the main process reads what error ended the fork.
        closed: the pipes' ends that others need.
        parent: the main process's number.
        mask: the signals that were held back before the fork.
    """
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It ended before.
            return
        signal.set_wakeup_fd(-1)  # It is read by a thread of the main process.
        for end in closed:
            if not end.closed:
                end.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield group
        code = 0
    except (ProcessLostError, KeyboardInterrupt, SystemExit):
        pass  # The main process is gone, or knows.
    except BaseException as error:
        with contextlib.suppress(OSError):
            _send(report, _portable(error))
    finally:
        os._exit(code)


def _portable(error: BaseException) -> BaseException:
    """An error that another process can raise, with the place where it came from."""
    if not isinstance(error, ReprogramError):
        error.add_note(f"in process {os.getpid()}, a fork of this one:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - it was just written.
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return error


def _end(fork: int) -> None:
    """End a fork; it holds nothing that would be lost."""
    with contextlib.suppress(ChildProcessError):  # The system has removed it, as where SIGCHLD is ignored.
        if os.waitpid(fork, os.WNOHANG)[0] == 0:
            os.kill(fork, signal.SIGKILL)
            os.waitpid(fork, 0)


def _send(pipe: Connection, value: Any) -> None:
    pipe.send_bytes(pickle.dumps(value))  # A copy; the pipe's own way would share tensors' memory.


def _received(pipe: Connection) -> Any:
    return pickle.loads(pipe.recv_bytes())  # noqa: S301 - the other end is this program, and nobody else's.


def _receive_into(pipe: Connection, values: Tensor) -> None:
    """Write what another process sent into a tensor's memory."""
    message, memory = pipe.recv_bytes(), _bytes(values)
    assert len(message) == len(memory), "the processes that learn together exchange different things"
    memory[:] = message


def _bytes(values: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return memoryview(values.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
