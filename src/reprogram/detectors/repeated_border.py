"""Counts in how many of an account's earlier queries the same pixels stood in the same places."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count, check_share
from reprogram.detectors._repeats import RETRY_FIELDS, is_retry, repeated
from reprogram.detectors.base import Array

PATCH = 4
"""Pixels of the side of the patch in the middle of a cell that is looked at."""

CHANNELS = 3


class RepeatedBorder(AccountDetector):
    """The largest m such that a share of the image was, in the same places, in at least m earlier queries.

    A program that doesn't move shares everything outside of the task image between any two queries. The image is cut
    into side × side cells. Of each cell the 4 × 4 pixels in its middle are hashed, rounded down to multiples of `step`.
    An account keeps for each cell the two contents that are the most frequent, with their counts (Misra and Gries,
    Finding repeated elements, 1982), so it costs the same however many queries it sends. Cells of equal content count
    once: the bars of a letterbox, or a white page around a thumbnail, are one piece. A query that repeats one
    of the account's last eight different ones, byte for byte, is a retry: it scores 0 and isn't counted.

    What a program does that moves, or varies its colours by more than a step, is that no content repeats.
    """

    usual_threshold = 24.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            side: cells from edge to edge.
            step: levels of 256 that count as one.
            share: of the different pieces of an image that has to be repeated.
            seed: of the hash; a service keeps its own to itself.
        """

        side: int = 16
        step: int = 4
        share: float = 0.5
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("side", self.side, 4, 64)
            check_count("step", self.step, 1, 128)
            check_share("share", self.share)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        generator = np.random.default_rng(config.seed)
        self._factors = generator.integers(1, 2**63, (CHANNELS, 1, PATCH * PATCH), dtype=np.uint64) * np.uint64(2) + 1
        self._cells = np.arange(config.side**2)
        self._levels = (np.arange(256) // config.step).astype(np.uint64)

    def fields(self) -> Fields:
        """Two contents of each cell with their counts, and the digests of the last queries."""
        cells = self.config.side**2
        return {
            "content": ((cells, 2), np.uint32),
            "count": ((cells, 2), np.uint16),
            **RETRY_FIELDS,
        }

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Look up each cell's content, count it, and say how often most of them were seen."""
        if is_retry(row, image):
            return 0.0
        values = self._hashed(image)
        content, count = row["content"], row["count"]
        known = (content == values[:, None]) & (count > 0)  # cells x 2
        seen = (count * known).sum(axis=1)
        first = np.unique(values, return_index=True)[1]
        score = repeated(seen[first], self.config.share)
        self._add(content, count, values, known)
        return score

    def _add(self, content: Array, count: Array, values: Array, known: Array) -> None:
        """Misra and Gries: what is known counts one more, what isn't takes an empty place, or all count one less."""
        is_known = known.any(axis=1)
        count += known & (count < np.iinfo(np.uint16).max)
        empty = count == 0
        to_fill = ~is_known & empty.any(axis=1)
        places = empty.argmax(axis=1)[to_fill]
        content[to_fill, places], count[to_fill, places] = values[to_fill], 1
        count[~is_known & ~to_fill] -= 1

    def _hashed(self, image: Array) -> Array:
        """A hash of the middle of each cell, uint32."""
        rows, columns = _middles(self.config.side, *image.shape[1:])
        # C x cells x 16 levels, times as many factors, summed modulo 2^64
        levels = self._levels[image[:, rows, columns]]
        products = (levels + 1) * self._factors[: len(image)]
        hashes: Array = (products.sum(axis=(0, 2)) >> np.uint64(32)).astype(np.uint32)
        return hashes


@lru_cache(maxsize=64)
def _middles(side: int, height: int, width: int) -> tuple[Array, Array]:
    """Rows and columns of the pixels in the middle of each cell, cells × 16 each; small images repeat their edges."""
    offsets = np.arange(PATCH) - PATCH // 2
    places = [
        ((np.arange(side) + 0.5) * size / side).astype(int)[:, None] + offsets for size in (height, width)
    ]  # side x 4 each
    rows, columns = (p.clip(0, size - 1) for p, size in zip(places, (height, width), strict=True))
    shape = (side, side, PATCH, PATCH)
    return (
        np.broadcast_to(rows[:, None, :, None], shape).reshape(side * side, -1),
        np.broadcast_to(columns[None, :, None, :], shape).reshape(side * side, -1),
    )
