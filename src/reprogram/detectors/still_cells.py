"""Measures how little the coarse picture of an account's queries changes from query to query."""

from dataclasses import dataclass

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count, check_share
from reprogram.detectors._cells import cell_statistics, informative
from reprogram.detectors._repeats import LEAST_PIECES, RETRY_FIELDS, is_retry
from reprogram.detectors.base import Array

LOWEST = -256.0
"""The score of an account of which too little is known."""


class StillCells(AccountDetector):
    """Minus the standard deviation, in levels of 256, below which a share of the picture's cells has stayed over time.

    The image is cut into side × side cells; of each, the mean colour and the standard deviation inside are taken. An
    account keeps their mean and variance over its latest queries. A program stands still in all cells around the task
    image, and so does one that moves by some pixels or adds noise of a pixel's size: a cell averages over both. Cells
    that are blank and have one of the image's two most frequent blank colours, such as the bars of a letterbox, are
    left out. A query that repeats one of the account's last eight different ones, byte for byte, is a retry, and isn't
    counted.

    What a program does that changes the colours of whole cells from query to query is that nothing stands still.
    """

    usual_threshold = -12.0
    highest = 0.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            side: cells from edge to edge.
            share: of the cells that have to stand still.
            memory: the number of latest queries that mean and variance are about.
            least: queries of an account before which nothing is said.
        """

        side: int = 12
        share: float = 0.5
        memory: int = 64
        least: int = 40

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("side", self.side, 3, 64)
            check_share("share", self.share)
            check_count("memory", self.memory, 4, 10_000)
            check_count("least", self.least, 2, self.memory)

    def fields(self) -> Fields:
        """Mean and variance of the four numbers of each cell, the number of queries, the digests of the last ones."""
        cells = self.config.side**2
        return {
            "mean": ((4, cells), np.float32),
            "variance": ((4, cells), np.float32),
            "queries": ((1,), np.uint32),
            **RETRY_FIELDS,
        }

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether the account has sent fewer than `least` queries."""
        return bool(row["queries"][0] < self.config.least)

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Add the query to the account's mean and variance, and say how still most cells are."""
        if is_retry(row, image):
            return LOWEST
        cells = cell_statistics(image, self.config.side)
        row["queries"] += row["queries"] < np.iinfo(np.uint32).max
        weight = max(1 / int(row["queries"][0]), 1 / self.config.memory)
        change = cells - row["mean"]
        row["mean"] += weight * change
        # West, Updating mean and variance estimates, 1979: v ← (1 - w) (v + w c²)
        row["variance"] += weight * ((1 - weight) * change**2 - row["variance"])
        kept = informative(cells)
        if row["queries"][0] < self.config.least or kept.sum() < LEAST_PIECES:
            return LOWEST
        deviation = np.sqrt(row["variance"][:, kept].mean(axis=0).clip(0))
        rank = max(int(np.ceil(self.config.share * len(deviation) - 1e-9)) - 1, 0)
        return -float(np.partition(deviation, rank)[rank])
