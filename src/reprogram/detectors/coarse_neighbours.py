"""How near a query's coarse picture is to that of an account's earlier queries, whatever came between them."""

from dataclasses import dataclass

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count, check_share
from reprogram.detectors._cells import cell_statistics, informative
from reprogram.detectors._repeats import LEAST_PIECES, RETRY_FIELDS, is_retry
from reprogram.detectors.base import Array

LOWEST = -256.0
"""The score of an account that hasn't sent enough."""


class CoarseNeighbours(AccountDetector):
    """Minus the distance, in levels of 256, to the k-th nearest of the account's last queries.

    As `still-cells`, the image is cut into side × side cells, of each of which mean colour and deviation inside are
    taken. The distance of two queries is the one that a share of the cells stays below, the largest of their four
    numbers counting. Benign queries in between don't move the nearest ones away, as they do the mean of `still-cells`.
    k has to be larger than the longest film or series of near duplicates that somebody honest sends.

    What a program does that changes the colours of whole cells, or sends more benign queries than its own, is that its
    neighbours are too far or too few.
    """

    usual_threshold = -12.0
    highest = 0.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            side: cells from edge to edge.
            share: of the cells that have to be near.
            k: which neighbour.
            history: the latest queries of an account that are kept.
        """

        side: int = 12
        share: float = 0.5
        k: int = 40
        history: int = 96

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("side", self.side, 3, 64)
            check_share("share", self.share)
            check_count("k", self.k, 1, 100_000)
            check_count("history", self.history, self.k, 1_000_000)

    def fields(self) -> Fields:
        """The four numbers of each cell of the latest queries, the number of queries, the digests of the last ones."""
        return {
            "cells": ((self.config.history, 4, self.config.side**2), np.uint8),
            "queries": ((1,), np.uint32),
            **RETRY_FIELDS,
        }

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether the latest query had fewer than k before it."""
        return bool(row["queries"][0] <= self.config.k)

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Compare the query's cells with those that are kept, and keep them."""
        if is_retry(row, image):
            return LOWEST
        cells = cell_statistics(image, self.config.side)
        kept = informative(cells)
        own = cells.round().clip(0, 255).astype(np.uint8)
        earlier = row["cells"][: int(row["queries"][0])]
        score = LOWEST
        if len(earlier) >= self.config.k and kept.sum() >= LEAST_PIECES:
            # queries x cells: the largest difference of a cell's four numbers
            away = np.abs(earlier[:, :, kept].astype(np.int16) - own[:, kept]).max(axis=1)
            rank = max(int(np.ceil(self.config.share * away.shape[1] - 1e-9)) - 1, 0)
            distances = np.partition(away, rank, axis=1)[:, rank]
            score = -float(np.partition(distances, self.config.k - 1)[self.config.k - 1])
        row["cells"][int(row["queries"][0]) % self.config.history] = own
        row["queries"] += 1
        return score
