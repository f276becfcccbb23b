"""Counts in how many of an account's earlier queries the same runs of pixels stood, wherever they stood."""

from dataclasses import dataclass

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count, check_share
from reprogram.detectors._repeats import RETRY_FIELDS, is_retry, repeated
from reprogram.detectors._shingles import run_hashes, smallest
from reprogram.detectors.base import Array


class RepeatedContent(AccountDetector):
    """The largest m such that a share of the image, in whatever places, was in at least m earlier queries.

    As `repeated-border`, but a program that moves is seen too. All runs of `run` pixels in a row of the image are
    hashed, in one channel, rounded down to multiples of `step`. The `pieces` smallest hashes stand for the image: equal
    runs have equal hashes wherever they are, and equal ones count once. An account keeps `memory` of them with their
    counts; those that were seen least often, and the longest ago, make room.

    What a program does that varies its pixels by more than a step, its size, or its direction, is that no run repeats.
    """

    usual_threshold = 24.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            pieces: hashes of an image.
            memory: hashes of an account.
            run: pixels of a run; a power of two.
            step: levels of 256 that count as one.
            share: of an image's pieces that has to be repeated.
            seed: of the hash; a service keeps its own to itself.
        """

        pieces: int = 64
        memory: int = 2048
        run: int = 8
        step: int = 4
        share: float = 0.4
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("pieces", self.pieces, 8, 1024)
            check_count("memory", self.memory, self.pieces, 2**20)
            check_count("run", self.run if self.run & (self.run - 1) == 0 else 0, 1, 64)
            check_count("step", self.step, 1, 128)
            check_share("share", self.share)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        generator = np.random.default_rng(config.seed)
        self._factor = int(generator.integers(2**20, 2**31)) * 2 + 1
        self._levels = generator.permutation(2**16)[np.arange(256) // config.step].astype(np.uint32)

    def fields(self) -> Fields:
        """Hashes with counts and the number of the query that held them last, and the digests of the last queries."""
        size = self.config.memory
        return {
            "pieces": ((size,), np.uint32),
            "count": ((size,), np.uint16),
            "last": ((size,), np.uint32),
            "queries": ((1,), np.uint32),
            **RETRY_FIELDS,
        }

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Look up each piece, count it, and say how often most of them were seen."""
        if is_retry(row, image):
            return 0.0
        own = self._pieces(image)
        pieces, count = row["pieces"], row["count"]
        row["queries"] += 1
        index = np.flatnonzero(np.isin(pieces, own) & (count > 0))
        order = np.searchsorted(own, pieces[index])
        seen = np.zeros(len(own), dtype=np.uint16)
        seen[order] = count[index]
        score = repeated(seen, self.config.share)
        count[index] += count[index] < np.iinfo(np.uint16).max
        row["last"][index] = row["queries"][0]
        fresh = np.delete(own, order)
        places = self._least(count, row["last"], index, len(fresh))
        pieces[places], count[places], row["last"][places] = fresh, 1, row["queries"][0]
        return score

    @staticmethod
    def _least(count: Array, last: Array, kept: Array, number: int) -> Array:
        """The places of the pieces seen least often, then longest ago; those of the query itself stay."""
        if not number:
            return np.zeros(0, dtype=int)
        worth = count.astype(np.uint64) << np.uint64(32) | last.astype(np.uint64)
        worth[kept] = np.iinfo(np.uint64).max
        return np.argpartition(worth, number - 1)[:number]

    def _pieces(self, image: Array) -> Array:
        """The smallest hashes of the runs in the green channel, or the grey one; small images have shorter runs."""
        levels = self._levels[image[len(image) // 2]]
        length = self.config.run
        while length > levels.shape[1]:
            length //= 2
        return smallest(run_hashes(levels, length, self._factor), self.config.pieces)
