"""Counting squares: 36×36 pixels, 1 to 10 white squares on a 4×4 grid (the 2018 paper's first task)."""

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reprogram.errors import ConfigError
from reprogram.registry import added_later
from reprogram.tasks._split import from_arrays
from reprogram.tasks.base import Task, TaskSource

CELLS = 16
CELL = 9
MOST = 10


class Squares(TaskSource):
    """Counting squares (paper, section 4.1): the number is uniform over 1 to 10, the cells uniform given the number.

    Each chosen cell of 9×9 pixels shows a 7×7 white square in a black frame of one pixel, so that neighbours stay
    apart. The arrangements of each number are divided among the splits (70, 10 and 20 %): no test image is ever seen
    in training. An image may occur several times in one split, for there are only 16 arrangements of one square. With
    `arrangements='shared'` every split draws from all arrangements, so that test images of few squares occur in
    training too.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            train: number of training images.
            validation: number of validation images.
            test: number of test images.
            seed: decides the images.
            arrangements: `disjoint` divides them among the splits, `shared` gives all of them to every split.
        """

        train: int = 20_000
        validation: int = 500
        test: int = 2_000
        seed: int = 0
        arrangements: Literal["disjoint", "shared"] = added_later("disjoint")

        def __post_init__(self) -> None:
            if min(self.train, self.validation, self.test) < 1 or max(self.train, self.validation, self.test) > 10**7:
                raise ConfigError("train, validation and test are numbers of images, 1 to 10,000,000 each")

    @classmethod
    def example(cls) -> Config:
        """A few images."""
        return cls.Config(train=160, validation=40, test=40)

    def load(self, *, download: bool = False) -> Task:
        """Draw the images."""
        generator = np.random.default_rng(self.config.seed)
        pools: list[list[NDArray[np.bool_]]] = [[], [], []]  # The arrangements of each split, by number.
        for count in range(1, MOST + 1):
            arrangements = generator.permutation(_arrangements(count))
            ends = [round(0.7 * len(arrangements)), round(0.8 * len(arrangements))]
            for pool, rows in zip(pools, np.split(arrangements, ends), strict=True):
                pool.append(arrangements if self.config.arrangements == "shared" else rows)
        sizes = (self.config.train, self.config.validation, self.config.test)
        train, validation, test = (_draw(pool, n, generator) for pool, n in zip(pools, sizes, strict=True))
        names = tuple(str(count) for count in range(1, MOST + 1))
        return Task(
            name="squares",
            train=from_arrays(*train),
            validation=from_arrays(*validation),
            test=from_arrays(*test),
            class_names=names,
        )


def _arrangements(count: int) -> NDArray[np.bool_]:
    """Every choice of `count` cells: one a row, true for each chosen cell."""
    taken = np.zeros((comb(CELLS, count), CELLS), dtype=bool)
    for row, cells in zip(taken, combinations(range(CELLS), count), strict=True):
        row[list(cells)] = True
    return taken


def _draw(
    pool: list[NDArray[np.bool_]], size: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Random images from a split's arrangements: n × 36 × 36, and n labels."""
    labels = generator.integers(0, MOST, size)
    # n x 16 cells
    taken = np.stack([pool[label][generator.integers(len(pool[label]))] for label in labels])
    square = np.zeros((CELL, CELL), dtype=np.uint8)
    square[1:-1, 1:-1] = 255
    # n x 4 x 4 cells, each enlarged to 9 x 9 pixels
    images = np.kron(taken.reshape(-1, 4, 4), square).astype(np.uint8)
    return images, labels
