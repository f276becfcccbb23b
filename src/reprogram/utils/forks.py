"""Forks of this process that learn with it, one core each, and the pipes by which they exchange tensors.

They begin with all that this process has loaded, and share its memory until one of them writes there.
"""

import contextlib
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
from reprogram.utils.distributed import ProcessGroup

T = TypeVar("T")


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
    """

    def __init__(self, rank: int, size: int, pipes: list[Connection]) -> None:
        super().__init__(rank, size)
        self.pipes = pipes

    def _add_up(self, values: Tensor) -> None:
        if not self.is_main:
            self.pipes[0].send_bytes(_bytes(values))
            self.pipes[0].recv_bytes_into(_bytes(values))
            return
        summand = torch.empty_like(values)
        for pipe in self.pipes:
            pipe.recv_bytes_into(_bytes(summand))
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

    A fork prints nothing, unless it meets what no process expects. Its own end, however it comes, and this process's
    end are an error of the next exchange between them.

    Args:
        size: the number of processes, at least 2.

    Yields:
        The group; each process has its own rank.

    Raises:
        ProcessLostError: the system starts no further process; none is left.
    """
    pairs = [Pipe() for _ in range(size - 1)]
    threads, forks = torch.get_num_threads(), []
    torch.set_num_threads(1)  # OpenMP's other threads don't live on in a fork.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        for rank, pair in enumerate(pairs, start=1):
            fork = _fork()
            if fork == 0:
                yield from _in_fork(rank, size, pair[1], pairs)
            forks.append(fork)
        for _, other in pairs:
            other.close()
        yield ForkedGroup(0, size, [own for own, _ in pairs])
    finally:
        for own, _ in pairs:
            own.close()
        for fork in forks:
            os.kill(fork, signal.SIGKILL)  # It holds nothing that would be lost.
            os.waitpid(fork, 0)
        torch.set_num_threads(threads)


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


def _in_fork(rank: int, size: int, pipe: Connection, pairs: list[tuple[Connection, Connection]]) -> Iterator[Any]:
    """Run the block in a fork, and end the fork with it."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)  # It is read by a thread of the main process.
        for end in (end for pair in pairs for end in pair if end is not pipe):
            if not end.closed:
                end.close()
        yield ForkedGroup(rank, size, [pipe])
        code = 0
    except (ReprogramError, KeyboardInterrupt, SystemExit):
        pass  # All processes meet it, and the main one says so; or the main one is gone.
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _send(pipe: Connection, value: Any) -> None:
    pipe.send_bytes(pickle.dumps(value))  # A copy; the pipe's own way would share tensors' memory.


def _received(pipe: Connection) -> Any:
    return pickle.loads(pipe.recv_bytes())  # noqa: S301 - the other end is this program, and nobody else's.


def _bytes(values: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return memoryview(values.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
