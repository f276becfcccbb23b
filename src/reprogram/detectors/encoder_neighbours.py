"""How near a query is, in the host's features, to the account's own earlier queries."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count
from reprogram.detectors.base import Array

if TYPE_CHECKING:
    from torch import Tensor

FARTHEST = 2.0
"""The distance of opposite vectors of length 1."""


class EncoderNeighbours(AccountDetector):
    """Minus the mean distance of a query to its k nearest among the account's last queries.

    Distances are those of the host's features, divided by their length, in a random projection to `numbers`
    dimensions, which keeps distances up to about 1 / √numbers (Johnson and Lindenstrauss) and makes a query cost 2 ·
    numbers bytes. Published are k = 50 and a distance of 1.44 in an encoder that was trained for it; with features of
    the host the threshold has to be calibrated. A program makes the host see the same in all queries, wherever it
    stands and whatever noise it adds; so do near duplicates.

    Reference: Chen, Carlini and Wagner, Stateful Detection of Black-Box Adversarial Attacks, SPAI 2020, section 4.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "features"
    has_gradient = True
    highest = 0.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            k: how many neighbours.
            history: the latest queries of an account that are kept.
            numbers: of the projection.
            seed: of the projection.
        """

        k: int = 20
        history: int = 64
        numbers: int = 64
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("k", self.k, 1, 100_000)
            check_count("history", self.history, self.k, 1_000_000)
            check_count("numbers", self.numbers, 2, 4096)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._projections: dict[int, Array] = {}

    def fields(self) -> Fields:
        """The projected features of the latest queries, and their number."""
        shape = (self.config.history, self.config.numbers)
        return {"features": (shape, np.float16), "queries": ((1,), np.uint32)}

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether the latest query had fewer than k before it."""
        return bool(row["queries"][0] <= self.config.k)

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Compare the query with the account's, and keep it; without k earlier ones it is as far as can be."""
        assert answer is not None
        own = self._projected(answer)
        earlier = row["features"][: int(row["queries"][0])].astype(np.float32)
        score = -FARTHEST
        if len(earlier) >= self.config.k:
            distances = np.linalg.norm(earlier - own, axis=1)
            score = -float(np.partition(distances, self.config.k - 1)[: self.config.k].mean())
        row["features"][int(row["queries"][0]) % self.config.history] = own
        row["queries"] += 1
        return score

    def scores_with_gradient(self, answers: "Tensor") -> "Tensor":
        """Minus the mean distance of each of b queries to the nearest k / history of the others, without the rounding.

        So many an account's k nearest are of its last `history` queries; with b = history + 1 they are k.
        """
        import torch

        others = len(answers) - 1
        if others < 1:
            return torch.full_like(answers[:, 0], -FARTHEST)
        own = answers / answers.norm(dim=1, keepdim=True).clamp_min(1e-12)
        own = own @ torch.from_numpy(self._projection(answers.shape[1])).to(answers).T
        away = (own[:, None] - own[None]).square().sum(dim=2).clamp_min(1e-12).sqrt()  # b x b
        away = away + torch.diag(away.new_full((len(away),), torch.inf))
        nearest = max(round(others * self.config.k / self.config.history), 1)
        scores: Tensor = -away.topk(nearest, dim=1, largest=False).values.mean(dim=1)
        return scores

    def _projection(self, d: int) -> Array:
        """R / √numbers, with random signs R: numbers × d."""
        if d not in self._projections:
            generator = np.random.default_rng([self.config.seed, d])
            signs = generator.integers(0, 2, (self.config.numbers, d)) * 2 - 1
            self._projections = {d: signs / np.sqrt(self.config.numbers)}
        return self._projections[d]

    def _projected(self, answer: Array) -> Array:
        """R z / (|z| √numbers), with random signs R."""
        projected = self._projection(len(answer)) @ (answer / max(float(np.linalg.norm(answer)), 1e-12))
        rounded: Array = projected.astype(np.float16).astype(np.float32)
        return rounded
