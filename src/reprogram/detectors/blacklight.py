"""Fingerprints after Blacklight: how many hashes of runs of pixels a query shares with an earlier one."""

from dataclasses import dataclass

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count
from reprogram.detectors.base import Array


class Blacklight(AccountDetector):
    """The largest share of a query's hashes that one of the account's earlier queries has too.

    The image gets a secret number added to each pixel, modulo 255, is rounded to multiples of `step`, and laid out as
    one row of numbers. Runs of `run` numbers, `stride` apart, are hashed, and the `pieces` smallest hashes are the
    fingerprint. Published parameters are those of ImageNet: run 50, stride 25, step 50, 50 hashes, alarm at 25. There
    all queries are compared with all (`pooled`), each query is kept, and hashes are SHA-256; here an account keeps the
    last `history` and hashes are of 32 bits.

    A retry is a repeated query, and sets off the alarm.

    Reference: Li, Shan, Wenger, Zhang, Zheng and Zhao, Blacklight: Scalable Defense for Neural Networks against
    Query-Based Black-Box Attacks, USENIX Security 2022, sections 4 and 5.
    """

    usual_threshold = 24.5 / 50
    highest = 1.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            run: numbers of a run.
            stride: numbers from one run to the next.
            step: levels of 256 that count as one.
            pieces: hashes of a fingerprint.
            history: the latest queries of an account that a query is compared with.
            salt: whether secret numbers are added.
            seed: of the secret numbers and the hash; a service keeps its own to itself.
        """

        run: int = 50
        stride: int = 25
        step: int = 50
        pieces: int = 50
        history: int = 64
        salt: bool = True
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("run", self.run, 1, 1024)
            check_count("stride", self.stride, 1, 1024)
            check_count("step", self.step, 1, 128)
            check_count("pieces", self.pieces, 4, 1024)
            check_count("history", self.history, 1, 100_000)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._rounded = np.rint((np.arange(511) % 255) / config.step).astype(np.uint8)
        generator = np.random.default_rng(config.seed)
        self._factors = generator.integers(1, 2**63, config.run, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._secret: dict[tuple[int, ...], Array] = {}

    def fields(self) -> Fields:
        """The fingerprints of the latest queries, 0 where there is none, and the number of queries."""
        return {"pieces": ((self.config.history, self.config.pieces), np.uint32), "queries": ((1,), np.uint32)}

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Compare the query's fingerprint with the account's, and keep it."""
        own = self._fingerprint(image)
        shared = (row["pieces"][: int(row["queries"][0])] != 0) & np.isin(row["pieces"][: int(row["queries"][0])], own)
        score = float(shared.sum(axis=1).max(initial=0) / len(own))
        place = int(row["queries"][0]) % self.config.history
        row["pieces"][place] = 0
        row["pieces"][place, : len(own)] = own
        row["queries"] += 1
        return score

    def _fingerprint(self, image: Array) -> Array:
        """The smallest different hashes, uint32, none of which is 0."""
        numbers = self._rounded[image.astype(np.uint16).ravel() + self._salt(image.shape)]
        if len(numbers) < self.config.run:
            numbers = np.pad(numbers, (0, self.config.run - len(numbers)))
        runs = np.lib.stride_tricks.sliding_window_view(numbers, self.config.run)[:: self.config.stride]
        hashes = ((runs.astype(np.uint64) + 1) * self._factors).sum(axis=1) >> np.uint64(32)
        return np.unique(hashes.astype(np.uint32) | np.uint32(1))[: self.config.pieces]

    def _salt(self, shape: tuple[int, ...]) -> Array:
        """The secret numbers for images of a shape, 0 to 255."""
        if not self.config.salt:
            return np.zeros(1, dtype=np.uint16)
        if shape not in self._secret:
            self._secret = dict(list(self._secret.items())[-7:])
            generator = np.random.default_rng([self.config.seed, *shape])
            self._secret[shape] = generator.integers(0, 256, int(np.prod(shape)), dtype=np.uint16)
        return self._secret[shape]
