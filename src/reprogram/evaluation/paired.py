"""The difference of two accuracies on the same images, with a 95 % interval: what a program is worth."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from reprogram.errors import DataError
from reprogram.evaluation.metrics import Z_95

METHOD = "Tango score"
"""The interval's name in results."""

HALVINGS = 60
"""Halvings of an interval shorter than 2, after which its ends can't be told apart in double precision."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How often two classifiers, here a program and its label map alone, are right on the same images.

    Attributes:
        both: images that both classify rightly.
        only_program: images that only the first, the program, classifies rightly.
        only_map: images that only the second, the label map alone, classifies rightly.
        neither: images that both classify wrongly.
    """

    both: int
    only_program: int
    only_map: int
    neither: int

    @property
    def n(self) -> int:
        """The number of images."""
        return self.both + self.only_program + self.only_map + self.neither

    @property
    def difference(self) -> float:
        """The first accuracy minus the second, in [-1, 1]."""
        return (self.only_program - self.only_map) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Tango's 95 % interval of the difference."""
        return tango_interval(self.only_program, self.only_map, self.n)

    def to_json(self) -> dict[str, Any]:
        """The value of a result's field `program_worth`."""
        return {
            "difference": self.difference,
            "interval": list(self.interval),
            "n": self.n,
            "both": self.both,
            "only_program": self.only_program,
            "only_map": self.only_map,
            "neither": self.neither,
            "method": METHOD,
        }


def paired(program: Int[Tensor, " n"], map_alone: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> Paired:
    """Compare two predictions of the same images.

    Args:
        program: n predicted classes.
        map_alone: n predicted classes of the same images.
        labels: n true classes.

    Raises:
        DataError: the numbers of images differ, or there is no image.
    """
    if not len(program) == len(map_alone) == len(labels) > 0:
        sizes = f"{len(program)}, {len(map_alone)} and {len(labels)}"
        raise DataError(f"{sizes} images can't be paired; give the same ones")
    a, b = program == labels, map_alone == labels
    counts = [int(torch.count_nonzero(pairs)) for pairs in (a & b, a & ~b, ~a & b, ~a & ~b)]
    return Paired(both=counts[0], only_program=counts[1], only_map=counts[2], neither=counts[3])


def net_gain(predictions: Mapping[str, Int[Tensor, " n"]], baselines: Collection[str]) -> dict[str, Any] | None:
    """What a program is worth beyond the best that could be done without it.

    The best baseline is chosen on the very images that it is compared on, which makes it look better than it is, the
    more so the more of them there are: the gain is rather too small than too large.

    Args:
        predictions: n predicted classes by what predicted them; `label` are the true ones, `program` the program's.
        baselines: the names of the baselines that count, as far as they are in `predictions`.

    Returns:
        The value of a result's field `net_gain`: `over`, the baseline's name, and the fields of `program_worth`; None
        where there is no such baseline.
    """
    labels = predictions["label"]
    right = {name: int((predictions[name] == labels).sum()) for name in baselines if name in predictions}
    if not right:
        return None
    best = max(right, key=lambda name: right[name])
    compared = paired(predictions["program"], predictions[best], labels).to_json()
    return {"over": best, **{"only_baseline" if name == "only_map" else name: compared[name] for name in compared}}


def tango_interval(only_first: int, only_second: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Tango's score interval of the difference of two paired proportions: all differences that a score test keeps.

    It stays within [-1, 1], has a width also where no pair differs, and keeps its coverage for small counts.

    Args:
        only_first: b, the number of pairs in which only the first one succeeds.
        only_second: c, the number of pairs in which only the second one succeeds.
        n: the number of pairs, those included in which both or neither succeed; at least 1.
        z: the normal quantile of the coverage; 95 % by default.

    Returns:
        The lower and the upper end, in [-1, 1].

    Raises:
        DataError: there is no pair, or the counts are out of range.

    Reference: Tango, Equivalence Test and Confidence Interval for the Difference in Proportions for the Paired-Sample
    Design, Statistics in Medicine 17, 1998, section 4.
    """
    if n < 1 or min(only_first, only_second) < 0 or only_first + only_second > n:
        raise DataError(f"no interval for {only_first} and {only_second} of {n} pairs")
    # The interval of the second minus the first is this one, mirrored.
    return -_upper_end(only_second, only_first, n, z), _upper_end(only_first, only_second, n, z)


def _upper_end(b: int, c: int, n: int, z: float) -> float:
    """The largest difference d from which (b - c) / n lies at most z standard errors away."""
    low, high = (b - c) / n, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # (n d - b + c)² <= z² Var: the statistic grows with d, so the end lies between the halves that differ in this.
        if (n * middle - b + c) ** 2 <= z * z * _variance(middle, b, c, n):
            low = middle
        else:
            high = middle
    return low


def _variance(d: float, b: int, c: int, n: int) -> float:
    """The variance of b - c under the hypothesis that the difference is d, at the most likely such probabilities."""
    # q, the most likely probability of "only the second": the larger root of 2 n q² + B q - c d (1 - d) = 0,
    # with B = (2 n - b + c) d - b - c.
    linear, constant = (2 * n - b + c) * d - b - c, c * d * (1 - d)
    q = (math.sqrt(max(linear * linear + 8 * n * constant, 0.0)) - linear) / (4 * n)
    # n (2 q + d (1 - d))
    return n * max(2 * q + d * (1 - d), 0.0)
