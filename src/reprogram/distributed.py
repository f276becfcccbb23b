"""Several processes that learn one program together: each takes its part of every batch.

`torchrun --nproc-per-node N -m reprogram fit ...` starts them; `Group` is what they have in common. A single process
is a group of one, and pays nothing. The numbers are those of one process with the same global batch, but for the order
in which floating point numbers are summed.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from reprogram.errors import ProcessLostError, ReprogramError
from reprogram.launch import launched_size

TIMEOUT_S = 25.0
"""How long a process waits for the others. It must be longer than the slowest step, or part of a validation."""
T = TypeVar("T")
_alone: ContextVar[bool] = ContextVar("alone", default=False)


class Group:
    """This process among those that learn together.

    Args:
        rank: this process's place; the first, 0, is the one that writes and speaks.
        size: how many there are.
        device: of the tensors that are exchanged.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, torch.device(device)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, items: Tensor) -> Tensor:
        """This process's part of the items, which all processes have; parts differ by one in length at the most."""
        return items.tensor_split(self.size)[self.rank]

    def share_of(self, items: list[T]) -> list[T]:
        """The same for a list."""
        return [items[place] for place in self.share(torch.arange(len(items))).tolist()]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes.

        Raises:
            ProcessLostError: one of them is gone.
        """
        if self.size == 1:
            return values
        summed = values.detach().to(self.device, copy=True)
        with _lost():
            dist.all_reduce(summed)
        return summed.to(values.device)

    def joined(self, part: Tensor, n: int, start: int | None = None) -> Tensor:
        """All processes' parts of n rows, in order, in every process.

        Args:
            part: what this process computed for `share`: rows × columns, on the CPU.
            n: rows in all.
            start: place of the part's first row; by default that of `share`.

        Raises:
            ProcessLostError: one of them is gone.
        """
        if self.size == 1:
            return part
        if start is None:
            start = sum(len(places) for places in torch.arange(n).tensor_split(self.size)[: self.rank])
        whole = torch.zeros((n, *part.shape[1:]), dtype=part.dtype)
        whole[start : start + len(part)] = part
        return self.total(whole)

    def every(self, value: T) -> list[T]:
        """Each process's value, a small one, by rank.

        Raises:
            ProcessLostError: one of them is gone.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _lost():
            dist.all_gather_object(values, value)
        return values

    def first(self, action: Callable[[], T]) -> T:
        """Have the leading process do something; all get what it returns, a small value, or its error.

        Raises:
            ReprogramError: of the action.
            ProcessLostError: one of the processes is gone.
        """
        if self.size == 1:
            return action()
        outcome: list[Any] = [None, None]
        if self.leads:
            try:
                outcome[0] = action()
            except ReprogramError as error:
                outcome[1] = error
        with _lost():
            dist.broadcast_object_list(outcome, device=self.device)
        if outcome[1] is not None:
            raise outcome[1]
        result: T = outcome[0]
        return result


@contextlib.contextmanager
def group(device: torch.device | str = "cpu") -> Iterator[Group]:
    """The group that this process belongs to: torchrun's, one that the caller has set up, or itself alone.

    Args:
        device: what this process computes on; nccl serves CUDA, gloo all else.

    Raises:
        ProcessLostError: the others can't be reached.
    """
    if _alone.get():
        yield Group(device=device)
        return
    if dist.is_available() and dist.is_initialized():
        yield Group(dist.get_rank(), dist.get_world_size(), device)
        return
    if launched_size() == 1:
        yield Group(device=device)
        return
    device = torch.device(device)
    with _lost():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=TIMEOUT_S))
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What learns in here does so by itself, whatever this process belongs to: the others do something else."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # What torch.distributed raises when a connection breaks or time is over.
        raise ProcessLostError(
            "another process of this job is gone or too slow; the run's checkpoint is kept, "
            "start the same command again to go on"
        ) from error
