"""What a query service shows of a host's scores, and how much of them can be known again from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.utils.finite import require_finite
from reprogram.utils.seeding import Draws
from reprogram.utils.straight_through import straight_through

Kind = Literal["logits", "probabilities", "percent", "independent"]
"""The numbers that a service shows: logits, a softmax in [0, 1], a softmax in percent, or a sigmoid of each label."""

SMALLEST = 1e-12
"""The smallest probability that an answer stands for."""

MAX_DECIMALS = 12
"""The most decimals that numbers are rounded to."""

TOP_LABELS = 0.5
"""The probability that the labels stand for that are shown without numbers, but where they would have less than twice
as much as one that isn't shown."""


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
        numbers, _, shown = self.restrict(numbers, numbers, torch.ones_like(numbers, dtype=torch.bool), noise)
        return numbers, shown

    def restrict(
        self, numbers: Tensor, order: Tensor, shown: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is left of numbers of this kind.

        Args:
            numbers: b × K.
            order: b × K, the numbers before they were rounded: services sort before they round.
            shown: b × K, whether each is shown so far.
            noise: b × K standard normal numbers; None for none.

        Returns:
            The numbers, their order and whether each is shown, anew.

        Raises:
            DataError: a number that isn't finite would look like a label, or like one that isn't shown.
        """
        if not self.numbers or self.floor is not None:
            require_finite(numbers)
        if self.noise and noise is not None:
            numbers, order = numbers + self.noise * noise, order + self.noise * noise
        if self.round is not None:
            numbers = (numbers * 10**self.round).round() / 10**self.round
        if self.labels is not None and self.labels < numbers.shape[1]:
            first = order.masked_fill(~shown, -math.inf).topk(self.labels, dim=1).indices
            shown = shown & torch.zeros_like(shown).scatter_(1, first, True)
        return numbers, order, shown if self.floor is None else shown & (numbers >= self.floor)

    def then(self, later: "Shown") -> "Shown | None":
        """What is shown where a later one restricts the numbers that this one shows.

        Args:
            later: the later one.

        Returns:
            Both in one; None where the later one shows numbers of another kind, which these would have to be taken for
            scores for.
        """
        if later.numbers and not (self.numbers and later.kind == self.kind):
            return None
        return Shown(
            labels=_least(self.labels, later.labels),
            numbers=later.numbers,
            kind=self.kind,
            round=_least(self.round, later.round),
            floor=max((f for f in (self.floor, later.floor) if f is not None), default=None),
            noise=math.hypot(self.noise, later.noise),
        )

    def evidence(self, numbers: Tensor, shown: Tensor, ranks: Tensor | None = None) -> Tensor:
        """The scores that an answer stands for: what isn't shown is censored, not zero.

        A shown number counts as it is, as a logarithm of a probability unless it is a logit; one with noise of
        deviation σ as σ log(1 + exp(number / σ)), which is above 0, and nearly the number itself from 2 σ on. Of
        probabilities that sum to 1, the labels that aren't shown share the rest equally, and none has more than the
        least that is shown. Of other numbers each label that isn't shown gets one K-th of the least that is. Labels
        without numbers share one half, or so much more that each has twice what a label has that isn't shown; these
        share the rest. Where nothing is shown, all labels are equal.

        Args:
            numbers: b × K, as `answer` returns them; those that aren't shown don't matter.
            shown: b × K, whether each is shown.
            ranks: b × K places of the labels that are shown without numbers, from 0, where they come in an order: the
                share of place r goes as 1 / (r + 1).

        Returns:
            b × K scores, logits.
        """
        count = shown.sum(1, keepdim=True)  # b x 1
        others = (numbers.shape[1] - count).clamp_min(1)
        if not self.numbers:
            shares = torch.ones_like(numbers) if ranks is None else 1 / (ranks.to(numbers.dtype) + 1)
            shares = torch.where(shown, shares, 0.0) / shares.masked_fill(~shown, 0.0).sum(1, True).clamp_min(1e-9)
            least = shares.masked_fill(~shown, 1.0).amin(1, keepdim=True)
            # max(1/2, 2 / (2 + hidden · least share)), b x 1; where all are shown, 1
            top = (2 / (2 + (numbers.shape[1] - count) * least)).clamp_min(TOP_LABELS)
            # log(top · share) for the shown, log((1 - top) / hidden) for the others
            values = torch.where(shown, top * shares, (1 - top) / others)
            return torch.where(count > 0, values, 1.0).log()
        if self.kind == "logits":
            least = numbers.masked_fill(~shown, math.inf).amin(1, keepdim=True)
            hidden = torch.where(count > 0, least - math.log(numbers.shape[1]), 0.0)
            return torch.where(shown, numbers, hidden)
        values = self._positive(numbers) / (100 if self.kind == "percent" else 1)
        least = values.masked_fill(~shown, 1.0).amin(1, keepdim=True)
        if self.kind == "independent":
            hidden = least / numbers.shape[1]
        else:
            # min((1 - Σ shown) / hidden labels, least shown)
            rest = (1 - values.masked_fill(~shown, 0.0).sum(1, keepdim=True)).clamp_min(0) / others
            hidden = torch.minimum(rest.clamp_min(self._smallest / numbers.shape[1]), least)
        return torch.where(shown, values, hidden.clamp_min(SMALLEST)).log()

    def _positive(self, numbers: Tensor) -> Tensor:
        """Numbers without those that aren't above 0, in units of `kind`."""
        one = 100.0 if self.kind == "percent" else 1.0
        if self.noise:
            # σ log(1 + exp(n / σ)), b x K
            return self.noise * torch.nn.functional.softplus(numbers / self.noise).clamp_min(
                SMALLEST * one / self.noise
            )
        return numbers.clamp(self._smallest * one, one)

    @property
    def _smallest(self) -> float:
        """The probability that a shown 0 stands for: a quarter of the last decimal, its mean below one half."""
        if self.round is None:
            return SMALLEST
        return float(0.25 * 10 ** -(self.round + (2 if self.kind == "percent" else 0)))


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _numbers(scores: Tensor, kind: Kind) -> Tensor:
    """The numbers of a kind, of b × K logits."""
    if kind == "logits":
        return scores
    if kind == "independent":
        return scores.sigmoid()
    return scores.softmax(dim=1) * (100 if kind == "percent" else 1)


@dataclass(frozen=True)
class Chain:
    """What is shown of scores in several steps, each of the numbers that the one before shows.

    Attributes:
        steps: what is shown, and the random numbers of its noise; each can follow the one before (`Shown.then`).
    """

    steps: Sequence[tuple[Shown, Draws]]

    @staticmethod
    def merged(steps: Sequence[Shown]) -> Shown:
        """All steps in one.

        Args:
            steps: what each shows, in order.
        """
        return reduce(lambda whole, step: whole.then(step) or step, steps)

    def numbers(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """What a service answers.

        Args:
            scores: b × K, the host's logits.

        Returns:
            b × K numbers, with the gradient of those before noise and rounding, and whether each is shown.
        """
        exact = _numbers(scores, self.steps[0][0].kind)
        numbers = order = exact.detach()
        mask = torch.ones_like(exact, dtype=torch.bool)
        for shown, draws in self.steps:
            numbers, order, mask = shown.restrict(numbers, order, mask, _noise(shown, numbers, draws))
        return straight_through(numbers, exact), mask

    def evidence(self, scores: Tensor) -> Tensor:
        """The scores that an answer stands for.

        Args:
            scores: b × K, the host's logits.

        Returns:
            b × K, with the gradient that it has where everything is shown.
        """
        shown = self.merged([step for step, _ in self.steps])
        return straight_through(shown.evidence(*self.numbers(scores.detach())), _in_units(scores, shown.kind))


def _noise(shown: Shown, numbers: Tensor, draws: Draws) -> Tensor | None:
    """Standard normal numbers, where noise is shown."""
    if not shown.noise or not len(numbers):
        return None
    rows = draws.rows(lambda generator: torch.randn(numbers.shape[1], generator=generator, dtype=numbers.dtype))
    return rows.to(numbers.device)


def _in_units(scores: Tensor, kind: Kind) -> Tensor:
    """The scores that an answer stands for where everything is shown."""
    if kind == "logits":
        return scores
    return torch.nn.functional.logsigmoid(scores) if kind == "independent" else scores.log_softmax(dim=1)
