"""Random numbers and orders that are functions of a seed."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
    return torch.randperm(n, generator=torch.Generator().manual_seed(_seed_of(seed, epoch)))


def stratified_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """An order for an epoch in which the images of each class are spread evenly: any part of it has nearly its shares.

    Of a class's n images, in random order, the i-th comes at (i + u) / n of the way, u being uniform in [0, 1).

    Args:
        labels: int64, the labels of all images.
        seed: the run's seed.
        epoch: the epoch's number, from 0.

    Returns:
        int64 indices, as many as labels, each once.

    Reference: Cochran, Sampling Techniques, 3rd edition 1977, section 5 (stratified random sampling).
    """
    generator = torch.Generator().manual_seed(_seed_of(seed, epoch))
    places = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.bincount().nonzero()[:, 0]:
        own = (labels == label).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator)]
        steps = torch.arange(len(own)) + torch.rand(len(own), generator=generator, dtype=torch.float64)
        places[own] = steps / len(own)
    return places.argsort(stable=True)


def _seed_of(seed: int, epoch: int) -> int:
    return (seed * 1_000_003 + epoch) % 2**63


_turn = threading.RLock()
"""Held by the thread that draws from torch's generators, which all threads share."""


def _renew_turn() -> None:
    """In a forked child the thread that held the lock isn't there, and would never give it back."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):  # Windows has none.
    os.register_at_fork(after_in_child=_renew_turn)


@contextlib.contextmanager
def seeded(seed: int | None, device: torch.device | str = "cpu", *, alone: bool = True) -> Iterator[None]:
    """In the block, torch's random numbers depend on a seed alone; afterwards the generators are restored.

    Args:
        seed: the block's seed; None keeps the generators' state, and restores it all the same.
        device: a CUDA device's generator is restored beside the CPU's.
        alone: whether blocks of other threads wait for this one, so that none draws what belongs to another. A block
            that takes long and hardly draws, such as learning, lets them in between: they leave its state as it was.
    """
    device = torch.device(device)
    generators = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with _turn if alone else contextlib.nullcontext():
        with _turn:
            generators.__enter__()
            if seed is not None:
                torch.manual_seed(seed)
        try:
            yield
        finally:
            with _turn:
                generators.__exit__(None, None, None)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random numbers of a batch that a host is asked for: each image has a generator of its own.

    It depends on a seed and on the image's number among all that were asked for, so that a continued run goes on with
    the numbers that an uninterrupted one would have drawn.

    Attributes:
        seed: below 2^40.
        first: the number of the batch's first image, from 0.
        count: b, the images of the batch.
        stream: tells apart what draws for the same image with the same seed.
    """

    seed: int
    first: int
    count: int
    stream: int = 0

    def rows(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """What is drawn for each image, stacked.

        Args:
            draw: makes a tensor with a generator on the CPU; of the same shape each time.

        Returns:
            b × whatever `draw` returns; b is at least 1.
        """
        return torch.stack([draw(generator) for generator in self.generators()])

    def generators(self) -> Iterator[torch.Generator]:
        """A generator for each image, in order."""
        offset = self.stream * 0x9E3779B97F4A7C15  # 2^64 / golden ratio: the streams lie far apart.
        for number in range(self.first, self.first + self.count):
            # Each 2^20 images of a seed lie far from the next seed's.
            far = (number >> 20) * 0xD1B54A32D192ED03
            yield torch.Generator().manual_seed(((self.seed << 20) + number % 2**20 + far + offset) % 2**63)
