"""Parities of a black-and-white 4×4 board: easy for who knows the rule, hopeless for who has only examples."""

from dataclasses import dataclass

import numpy as np

from reprogram.errors import ConfigError
from reprogram.tasks._split import from_arrays
from reprogram.tasks.base import Task, TaskSource

CELLS = 16
CELL = 4
"""The side of a cell in pixels: an image has 16×16."""

NAMES = ("even, even", "even, odd", "odd, even", "odd, odd")


class Parity(TaskSource):
    """The parity of the white cells of the whole board, and that of its upper three rows: four classes.

    Parities of many bits aren't linear in the pixels, and neighbouring boards have other labels, so that a nearest
    neighbour, a linear classifier and a small net trained on a thousand examples stay near chance. A classifier that
    does this task got it from somewhere else: the task tells what a host gives from what examples give. The boards of
    the three splits are all different.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            train: number of training images.
            validation: number of validation images.
            test: number of test images.
            seed: decides the images.
        """

        train: int = 1_000
        validation: int = 300
        test: int = 500
        seed: int = 0

        def __post_init__(self) -> None:
            sizes = (self.train, self.validation, self.test)
            if min(sizes) < 1 or sum(sizes) > 2**CELLS:
                raise ConfigError("train, validation and test are numbers of images, at least 1 each, 65,536 together")

    @classmethod
    def example(cls) -> Config:
        """A few images."""
        return cls.Config(train=160, validation=40, test=40)

    def load(self, *, download: bool = False) -> Task:
        """Draw the boards."""
        config = self.config
        sizes = (config.train, config.validation, config.test)
        boards = np.random.default_rng(config.seed).permutation(2**CELLS)[: sum(sizes)]
        # n x 16 cells, 0 or 1, row by row
        cells = (boards[:, None] >> np.arange(CELLS)) & 1
        labels = 2 * (cells.sum(axis=1) % 2) + cells[:, :12].sum(axis=1) % 2
        # n x 16 x 16, each cell enlarged to 4 x 4 pixels
        images = (np.kron(cells.reshape(-1, 4, 4), np.ones((CELL, CELL), dtype=np.int64)) * 255).astype(np.uint8)
        ends = np.cumsum(sizes)[:2]
        train, validation, test = zip(np.split(images, ends), np.split(labels, ends), strict=True)
        return Task(
            name="parity",
            train=from_arrays(*train),
            validation=from_arrays(*validation),
            test=from_arrays(*test),
            class_names=NAMES,
        )
