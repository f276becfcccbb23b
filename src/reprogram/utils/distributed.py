"""Several processes that learn one program together: each computes its shard of every batch.

`torchrun --nproc-per-node N -m reprogram fit ...` starts them, or the one process forks (`utils/forks.py`); a
`ProcessGroup` stands for all of them. A single process is a group of one, and pays nothing. The numbers are those of
one process with the same global batch, but for the order in which floating point numbers are summed.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from reprogram.errors import ProcessLostError, ReprogramError
from reprogram.utils.process import launched_size, left_over

TIMEOUT_S = 25.0
"""How long a process waits for the others: longer than the slowest step or its shard of the slowest validation."""

LOST = (
    "another process of this job is gone or too slow; the run's checkpoint is kept, "
    "start the same command again to go on"
)
"""The message where processes can't go on together."""

T = TypeVar("T")
_alone: ContextVar[bool] = ContextVar("alone", default=False)


class ProcessGroup:
    """The processes that learn together, as one of them sees them.

    Args:
        rank: this process's number, 0 to size - 1; process 0 is the main one.
        size: the number of processes.
        device: where tensors are exchanged.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, torch.device(device)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process: the one that writes files and messages."""
        return self.rank == 0

    def shard(self, items: Tensor) -> Tensor:
        """This process's shard of a tensor that all processes have; shards differ by one row at the most.

        Args:
            items: n rows, the same in every process.

        Returns:
            About n / size of the rows, in order.
        """
        return items.tensor_split(self.size)[self.rank]

    def shard_list(self, items: list[T]) -> list[T]:
        """This process's shard of a list that all processes have.

        Args:
            items: the list, the same in every process.

        Returns:
            About n / size of its items, in order.
        """
        return [items[index] for index in self.shard(torch.arange(len(items))).tolist()]

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes.

        Args:
            values: this process's summand; all have one shape.

        Returns:
            The sum, the same in every process, on the device of `values`.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self.size == 1:
            return values
        summed = values.detach().to(self.device, copy=True)
        with self._reaching_all():
            self._add_up(summed)
        return summed.to(values.device)

    def all_gather(self, part: Tensor, n: int, start: int | None = None) -> Tensor:
        """The n rows of which each process has some, in order.

        Args:
            part: this process's rows, such as its results for `shard`, on the CPU.
            n: the number of rows of all processes.
            start: the index of this process's first row; by default that of its `shard`.

        Returns:
            All n rows, in every process.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self.size == 1:
            return part
        if start is None:
            start = sum(len(shard) for shard in torch.arange(n).tensor_split(self.size)[: self.rank])
        rows = torch.zeros((n, *part.shape[1:]), dtype=part.dtype)  # Zeros but for this process's rows: the sum is all.
        rows[start : start + len(part)] = part
        return self.all_reduce(rows)

    def all_gather_object(self, value: T) -> list[T]:
        """The values of all processes.

        Args:
            value: this process's, a small picklable object.

        Returns:
            One value for each process, by rank, in every process.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self.size == 1:
            return [value]
        with self._reaching_all():
            return self._gather(value)

    def on_main(self, action: Callable[[], T]) -> T:
        """Call a function in the main process alone.

        Args:
            action: the function; it returns a small picklable value.

        Returns:
            What the function returned, in every process.

        Raises:
            ReprogramError: the function raised it; every process does.
            ProcessLostError: another process is gone.
        """
        if self.size == 1:
            return action()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = action()
            except ReprogramError as error:
                outcome[1] = error
        with self._reaching_all():
            outcome = self._spread(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        result: T = outcome[0]
        return result

    def should_stop(self, pending: list[int]) -> bool:
        """Whether a computation that all processes share is to be given up.

        Args:
            pending: the signals that this process got.
        """
        return bool(pending)

    @contextlib.contextmanager
    def _reaching_all(self) -> Iterator[None]:
        """Raise a `ProcessLostError` where the block's exchange breaks off or takes too long."""
        try:
            yield
        except (RuntimeError, OSError, EOFError) as error:  # RuntimeError is torch.distributed's.
            raise ProcessLostError(LOST) from error

    def _add_up(self, values: Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        dist.all_reduce(values)

    def _gather(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def _spread(self, values: list[Any]) -> list[Any]:
        """The main process's list."""
        dist.broadcast_object_list(values, device=self.device)
        return values


@contextlib.contextmanager
def process_group(device: torch.device | str = "cpu") -> Iterator[ProcessGroup]:
    """The group that this process belongs to: torchrun's, one that the caller has set up, or itself alone.

    Args:
        device: what this process computes on; nccl serves CUDA, gloo all else.

    Raises:
        ProcessLostError: the other processes can't be reached.

    Yields:
        The group; a group that torchrun started ends with the block.
    """
    if _alone.get():
        yield ProcessGroup(device=device)
        return
    if dist.is_available() and dist.is_initialized():
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
        return
    if launched_size() == 1:
        yield ProcessGroup(device=device)
        return
    device = torch.device(device)
    try:
        socket.getaddrinfo(os.environ["MASTER_ADDR"], None)  # torch would try for long, and print its own frames.
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=TIMEOUT_S))
    except (RuntimeError, ValueError, OSError) as error:
        raise ProcessLostError(
            f"{left_over()}, and the others can't be reached; start all of them with torchrun, or unset these variables"
        ) from error
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """In the block, `process_group` gives a group of one: the other processes do something else meanwhile."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)
