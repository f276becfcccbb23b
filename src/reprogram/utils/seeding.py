"""Random numbers and orders that are functions of a seed."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


def permutation(count: int, seed: int, *, first: int | None = None) -> Tensor:
    """The numbers 0 … count - 1 in random order: `torch.randperm` of a seed.

    It is drawn in 32 bits, which gives the same numbers in half the time: a stranger's file may ask for a large one.

    Args:
        count: how many numbers there are.
        seed: decides the order.
        first: how many numbers to return, from the beginning of the order; None for all.

    Returns:
        int64 numbers, on the CPU.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    return order[:first].long()


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch sees the images: a permutation that depends on seed and epoch alone.

    Args:
        n: the number of images.
        seed: the run's seed.
        epoch: the epoch's number, from 0.

    Returns:
        n int64 indices, on the CPU.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)


@contextlib.contextmanager
def seeded(seed: int | None, device: torch.device | str = "cpu") -> Iterator[None]:
    """In the block, torch's random numbers depend on a seed alone; afterwards the generators are restored.

    Args:
        seed: the block's seed; None keeps the generators' state, and restores it all the same.
        device: a CUDA device's generator is restored beside the CPU's.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield
