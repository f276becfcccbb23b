"""What a query service shows of a host's scores, and how much of them can be known again from it."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reprogram.errors import ConfigError

Kind = Literal["logits", "probabilities", "percent", "independent"]
"""The numbers that a service shows: logits, a softmax in [0, 1], a softmax in percent, or a sigmoid of each label."""

SMALLEST = 1e-12
"""The smallest probability that an answer stands for."""

MAX_DECIMALS = 12
"""The most decimals that numbers are rounded to."""

TOP_LABEL = 0.5
"""The probability that a label stands for where it is shown without a number."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is shown of the K scores of an image.

    Attributes:
        labels: how many labels are shown, the largest first; None for all of them.
        numbers: whether their numbers are shown, or the labels alone.
        kind: which numbers.
        round: the decimals that numbers are rounded to; None for all.
        floor: labels with smaller numbers aren't shown.
        noise: the standard deviation of normal noise that is added to the numbers before anything is left out.
    """

    labels: int | None = None
    numbers: bool = True
    kind: Kind = "probabilities"
    round: int | None = None
    floor: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.labels is not None and self.labels < 1:
            raise ConfigError(f"k={self.labels}; at least one label is shown")
        if self.round is not None and not 0 <= self.round <= MAX_DECIMALS:
            raise ConfigError(f"round={self.round}; 0 to {MAX_DECIMALS} decimals are expected")
        if not 0 <= self.noise < math.inf:
            raise ConfigError(f"noise={self.noise}; 0 or a positive standard deviation is expected")
        if self.floor is not None and not math.isfinite(self.floor):
            raise ConfigError(f"floor={self.floor}; a finite number is expected")

    def answer(self, scores: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What a service answers.

        Args:
            scores: b × K, the host's logits.
            noise: b × K standard normal numbers; None for none.

        Returns:
            b × K numbers, and whether each is shown.
        """
        numbers = _numbers(scores, self.kind)
        if self.noise and noise is not None:
            numbers = numbers + self.noise * noise
        order = numbers  # Services sort before they round.
        if self.round is not None:
            numbers = (numbers * 10**self.round).round() / 10**self.round
        shown = torch.ones_like(numbers, dtype=torch.bool)
        if self.labels is not None and self.labels < numbers.shape[1]:
            shown = torch.zeros_like(shown).scatter_(1, order.topk(self.labels, dim=1).indices, True)
        return numbers, shown if self.floor is None else shown & (numbers >= self.floor)

    def evidence(self, numbers: Tensor, shown: Tensor) -> Tensor:
        """The scores that an answer stands for: what isn't shown is censored, not zero.

        A shown number counts as it is, as a logarithm of a probability unless it is a logit. Of probabilities that sum
        to 1, the labels that aren't shown share the rest equally, and none has more than the least that is shown. Of
        other numbers each label that isn't shown gets one K-th of the least that is. A label without a number counts
        as one half, and the others share the other half. Where nothing is shown, all labels are equal.

        Args:
            numbers: b × K, as `answer` returns them; those that aren't shown don't matter.
            shown: b × K, whether each is shown.

        Returns:
            b × K scores, logits.
        """
        count = shown.sum(1, keepdim=True)  # b x 1
        others = (numbers.shape[1] - count).clamp_min(1)
        if not self.numbers:
            # log(1/2 / shown) for the shown, log(1/2 / hidden) for the others
            rest = torch.where(count == numbers.shape[1], 1.0, 1 - TOP_LABEL)
            values = torch.where(shown, TOP_LABEL / count.clamp_min(1), rest / others).to(numbers.dtype)
            return torch.where(count > 0, values, 1.0).log()
        if self.kind == "logits":
            least = numbers.masked_fill(~shown, math.inf).amin(1, keepdim=True)
            hidden = torch.where(count > 0, least - math.log(numbers.shape[1]), 0.0)
            return torch.where(shown, numbers, hidden)
        values = (numbers / (100 if self.kind == "percent" else 1)).clamp(self._smallest, 1)
        least = values.masked_fill(~shown, 1.0).amin(1, keepdim=True)
        if self.kind == "independent":
            hidden = least / numbers.shape[1]
        else:
            # min((1 - Σ shown) / hidden labels, least shown)
            rest = (1 - values.masked_fill(~shown, 0.0).sum(1, keepdim=True)).clamp_min(0) / others
            hidden = torch.minimum(rest.clamp_min(self._smallest / numbers.shape[1]), least)
        return torch.where(shown, values, hidden.clamp_min(SMALLEST)).log()

    @property
    def _smallest(self) -> float:
        """The probability that a shown 0 stands for: a quarter of the last decimal, its mean below one half."""
        if self.round is None:
            return SMALLEST
        return float(0.25 * 10 ** -(self.round + (2 if self.kind == "percent" else 0)))


def _numbers(scores: Tensor, kind: Kind) -> Tensor:
    """The numbers of a kind, of b × K logits."""
    if kind == "logits":
        return scores
    if kind == "independent":
        return scores.sigmoid()
    return scores.softmax(dim=1) * (100 if kind == "percent" else 1)
