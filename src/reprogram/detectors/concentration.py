"""Measures how few labels the host has given an account."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count
from reprogram.detectors.base import Array

if TYPE_CHECKING:
    from torch import Tensor


class Concentration(AccountDetector):
    """1 - H / log n: H is the entropy of the host's top labels in an account's last n answers, in nats.

    It is 0 where n answers gave n labels, and 1 where all gave the same. A label map that reads the host's top label
    needs as many labels as the task has classes, and each in a large share of all answers; a map of many labels to one,
    or of scores, doesn't. People who ask about one kind of thing look alike.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "scores"
    has_gradient = True
    usual_threshold = 0.75
    highest = 1.0

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options.

        Attributes:
            history: n, the latest answers of an account that count.
            least: answers of an account before which the score is 0.
        """

        history: int = 64
        least: int = 16

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("history", self.history, 2, 100_000)
            check_count("least", self.least, 2, self.history)

    def fields(self) -> Fields:
        """The labels of the latest answers, and the number of answers."""
        return {"labels": ((self.config.history,), np.uint32), "queries": ((1,), np.uint32)}

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether the account has had fewer than `least` answers."""
        return bool(row["queries"][0] < self.config.least)

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Add the answer's top label to the account's, and say how concentrated they are."""
        assert answer is not None
        row["labels"][int(row["queries"][0]) % self.config.history] = answer.argmax()
        row["queries"] += 1
        n = min(int(row["queries"][0]), self.config.history)
        if n < self.config.least:
            return 0.0
        shares = np.unique(row["labels"][:n], return_counts=True)[1] / n
        # H = - Σ p log p
        return float(1 + (shares * np.log(shares)).sum() / np.log(n))

    def scores_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The score of b queries together, for each of them; the gradient is that of the mean probabilities.

        Labels have no gradient. So the score is that of the labels, and changes as it would if p were the mean of the
        softmax (a straight-through estimate). Few queries can't have many labels: b should be near `history`.
        """
        import torch

        probabilities = answers.softmax(dim=1)
        labels = torch.nn.functional.one_hot(answers.argmax(dim=1), answers.shape[1]).to(answers)
        shares = (labels + probabilities - probabilities.detach()).mean(dim=0)
        # 1 + Σ p log p / log n; where p is 0, the slope is that of one label more.
        score = 1 + torch.xlogy(shares, shares.clamp_min(1 / len(answers))).sum() / float(np.log(self.config.history))
        return score.expand(len(answers))
