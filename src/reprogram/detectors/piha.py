"""Fingerprints after PIHA: how near a query's local colour pattern is to that of an earlier one."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate1d

from reprogram.detectors._accounts import AccountDetector, Fields, check_count
from reprogram.detectors.base import Array

BLUR = np.exp(-0.5 * np.array([-1.0, 0.0, 1.0]) ** 2)
"""A Gaussian of standard deviation 1 on three pixels, not yet of sum 1."""

AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours of a block, in the order of the bits."""


class Piha(AccountDetector):
    """One minus the least share of blocks in which a query's pattern differs from that of an earlier query.

    The image is blurred (Gaussian, 3 × 3), its hue is summed over blocks of `block` × `block` pixels, and each block's
    pattern says which of its eight neighbours has at least as large a sum (local binary pattern). The published alarm
    is a difference of at most 0.05 on any earlier query (`pooled`); here an account keeps the last `history`. The
    diagonal neighbours are blocks here, not interpolated between them. A grey image, which has no hue, is compared by
    its brightness, also where it has three channels.

    A retry is a repeated query, and sets off the alarm.

    Reference: Choi, Shin and Choi, PIHA: Detection Method Using Perceptual Image Hashing against Query-Based
    Adversarial Attacks, Future Generation Computer Systems 2023, section 3.
    """

    usual_threshold = 0.95 - 1e-9
    highest = 1.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            block: pixels of a block's side.
            history: the latest queries of an account that a query is compared with.
            size: the side that other images are brought to, by their nearest pixels, before they are compared.
        """

        block: int = 7
        history: int = 32
        size: int = 224

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("size", self.size, 8, 1024)
            check_count("block", self.block, 1, self.size // 3)
            check_count("history", self.history, 1, 100_000)

    def fields(self) -> Fields:
        """The patterns of the latest queries, and the number of queries."""
        side = -(-self.config.size // self.config.block)
        return {"patterns": ((self.config.history, side * side), np.uint8), "queries": ((1,), np.uint32)}

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Compare the query's pattern with the account's, and keep it."""
        own = self._pattern(image)
        earlier = row["patterns"][: int(row["queries"][0])]
        score = float((earlier == own).mean(axis=1).max(initial=0.0))
        row["patterns"][int(row["queries"][0]) % self.config.history] = own
        row["queries"] += 1
        return score

    def _pattern(self, image: Array) -> Array:
        """The pattern of each block, uint8."""
        size, block = self.config.size, self.config.block
        rows, columns = ((np.arange(size) * side) // size for side in image.shape[1:])
        pixels = image[:, rows[:, None], columns].astype(np.float32) / 255
        kernel = (BLUR / BLUR.sum()).astype(np.float32)
        blurred = correlate1d(correlate1d(pixels, kernel, axis=1, mode="mirror"), kernel, axis=2, mode="mirror")
        values = 360 * blurred[0] if (blurred == blurred[0]).all() else _hue(blurred)
        edges = np.arange(0, size, block)
        sums = np.add.reduceat(np.add.reduceat(values, edges, axis=0), edges, axis=1)
        padded = np.pad(sums, 1)
        side = len(sums)
        pattern = np.zeros(sums.shape, dtype=np.uint8)
        for bit, (down, right) in enumerate(AROUND):
            neighbour = padded[1 + down : 1 + down + side, 1 + right : 1 + right + side]
            pattern |= (neighbour >= sums).astype(np.uint8) << bit
        return pattern.ravel()


def _hue(pixels: Array) -> Array:
    """The hue of 3 × H × W pixels, in degrees from 0 to 360; 0 where there is none."""
    red, green, blue = pixels
    highest, lowest = pixels.max(axis=0), pixels.min(axis=0)
    spread = np.where(highest > lowest, highest - lowest, 1)
    # 60° times the sector's place and the way from it, by the largest channel.
    hue = np.where(
        highest == red,
        (green - blue) / spread,
        np.where(highest == green, 2 + (blue - red) / spread, 4 + (red - green) / spread),
    )
    degrees: Array = np.where(highest > lowest, 60 * hue % 360, 0)
    return degrees
