"""Measures which share of the local contrast in an account's queries stays in its place from query to query."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count
from reprogram.detectors._repeats import RETRY_FIELDS, is_retry
from reprogram.detectors.base import Array

LEAST_CONTRAST = 0.02
"""Mean squared contrast, of at most 1, below which images are blank and say nothing."""


class PersistentDetail(AccountDetector):
    """The share of an account's local contrast that is the same in all of its latest queries.

    s are the differences between pixels that lie `lag` apart, clipped to ± `clip` levels and divided by it, at `places`
    random places, half of them to the right and half downwards. An account keeps their mean m over its latest queries,
    weighted by w, and the mean energy e of s². In pictures that have nothing to do with each other m² is Σ w² e; the
    score is what is beyond it, (m² - Σ w² e) / (e (1 - Σ w²)): about the share of the area, blank area left out, that a
    program fills. Noise that a program adds to itself averages out. A query that repeats one of the
    account's last eight different ones, byte for byte, is a retry: it scores 0 and isn't counted.

    What a program does that moves by more than its own grain is that the mean is blank.
    """

    usual_threshold = 0.4

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            places: how many differences are taken of an image; an even number.
            lag: pixels between the two of a difference.
            clip: levels of 256 from which on differences count alike.
            memory: the number of latest queries that the mean is about.
            least: queries of an account before which the score is 0.
            seed: of the places; a service keeps its own to itself.
        """

        places: int = 1024
        lag: int = 4
        clip: int = 16
        memory: int = 64
        least: int = 40
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("places", self.places - self.places % 2, 16, 65_536)
            check_count("lag", self.lag, 1, 64)
            check_count("clip", self.clip, 1, 255)
            check_count("memory", self.memory, 4, 10_000)
            check_count("least", self.least, 2, self.memory)

    def fields(self) -> Fields:
        """The mean contrast of each place; energy, Σ w² and the number of queries; the digests of the last queries."""
        return {
            "mean": ((self.config.places // 2 * 2,), np.float32),
            "sums": ((3,), np.float64),
            **RETRY_FIELDS,
        }

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether the account has sent fewer than `least` queries."""
        return bool(row["sums"][2] < self.config.least)

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Add the query to the account's mean, and say how much of the contrast stays."""
        if is_retry(row, image):
            return 0.0
        contrast = self._contrast(image)
        mean, sums = row["mean"], row["sums"]
        sums[2] += 1
        weight = max(1 / sums[2], 1 / self.config.memory)
        mean += weight * (contrast - mean)
        sums[0] += weight * (np.mean(contrast**2, dtype=np.float64) - sums[0])
        sums[1] = (1 - weight) ** 2 * sums[1] + weight**2  # Σ w²
        energy, squares, queries = sums
        if queries < self.config.least or energy < LEAST_CONTRAST:
            return 0.0
        # (m² - Σ w² e) / (e (1 - Σ w²))
        return float((np.mean(mean**2, dtype=np.float64) - squares * energy) / (energy * (1 - squares)))

    def _contrast(self, image: Array) -> Array:
        """Clipped differences of the green channel, or the grey one, in [-1, 1]."""
        first, second = _pairs(self.config.places // 2, self.config.lag, self.config.seed, *image.shape[1:])
        levels = image[len(image) // 2].ravel()
        difference = levels[second].astype(np.float32) - levels[first]
        clipped: Array = difference.clip(-self.config.clip, self.config.clip) / self.config.clip
        return clipped


@lru_cache(maxsize=64)
def _pairs(half: int, lag: int, seed: int, height: int, width: int) -> tuple[Array, Array]:
    """Indices of the two pixels of each difference, 2 · half each; small images have shorter lags."""
    down, right = min(lag, height - 1), min(lag, width - 1)
    generator = np.random.default_rng(seed)
    rows = (generator.random(2 * half) * (height - down)).astype(int)
    columns = (generator.random(2 * half) * (width - right)).astype(int)
    first = rows * width + columns
    second = first + np.repeat([right, down * width], half)
    return first, second
