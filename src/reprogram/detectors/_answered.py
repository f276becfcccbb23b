"""What detectors of unusual answers share: a value for each answer, or its mean over an account's last answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reprogram.detectors._accounts import AccountDetector, Fields, check_count
from reprogram.detectors.base import Array
from reprogram.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class AnswerDetector(AccountDetector):
    """Scores answers one by one, or their running mean. An author writes `value`."""

    @dataclass(frozen=True, kw_only=True)
    class Config(AccountDetector.Config):
        """Options of every detector of unusual answers.

        Attributes:
            over: the score is the mean over the account's last answers, this many; 1 looks at each alone. An account
                that hasn't sent so many yet has a mean with the lowest value in the place of those that are missing.
        """

        over: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            check_count("over", self.over, 1, 10_000)

    lowest: float = 0.0
    """Stands for answers that aren't there yet: no `value` is lower, or else new accounts would seem suspicious."""

    def value(self, answer: Array) -> float:
        """How unusual an answer is; more is more unusual.

        Args:
            answer: a vector of float64.
        """
        raise NotImplementedError

    def values_with_gradient(self, answers: "Tensor") -> "Tensor":
        """`value` of each answer, with a gradient, where the detector `has_gradient`.

        Args:
            answers: b vectors.
        """
        raise NotImplementedError

    @property
    def across_queries(self) -> bool:
        """Whether means are taken."""
        return bool(self.config.over > 1)

    def scores_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The value of each answer, or the mean of the `over` answers that it stands among."""
        import torch

        values = self.values_with_gradient(answers)
        if self.config.over == 1:
            return values
        return torch.cat([part.mean().expand(len(part)) for part in torch.split(values, self.config.over)])

    def fields(self) -> Fields:
        """The values of the latest answers, and their number; nothing where each answer is looked at alone."""
        over = self.config.over
        return {"values": ((over,), np.float64), "queries": ((1,), np.uint32)} if over > 1 else {}

    def is_new(self, account: str) -> bool:
        """Whether the mean holds answers that aren't there yet."""
        return self.config.over > 1 and super().is_new(account)

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether the account has had fewer than `over` answers."""
        return bool(row["queries"][0] < self.config.over)

    def score(self, image: Array, account: str, answer: Array | None) -> float:
        """The value of the answer, or the mean of the account's latest ones."""
        assert answer is not None
        if self.config.over == 1:
            return self.value(answer)
        return super().score(image, account, answer)

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """Add the answer's value to the account's, and take their mean."""
        assert answer is not None
        values, over = row["values"], self.config.over
        if not row["queries"][0]:
            values[:] = self.lowest
        values[int(row["queries"][0]) % over] = self.value(answer)
        row["queries"] += 1
        return float(values.mean())


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that isn't positive.

    Args:
        temperature: the option's value.

    Raises:
        ConfigError: it is out of range.
    """
    if not 0 < temperature < 1e6:
        raise ConfigError(f"temperature={temperature}; a number above 0 and below 1,000,000 is expected")
