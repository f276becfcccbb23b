"""How small the host's largest probability is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reprogram.detectors._answered import AnswerDetector, check_temperature
from reprogram.detectors.base import Array

if TYPE_CHECKING:
    from torch import Tensor


class LargestSoftmax(AnswerDetector):
    """- max softmax(scores / T): a host is often less sure of images unlike those that it was trained on.

    A program that was learned until the host is sure of its labels lies on the other side: `confident` turns the sign.

    Reference: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
    Networks, ICLR 2017, section 3.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "scores"
    has_gradient = True

    @dataclass(frozen=True, kw_only=True)
    class Config(AnswerDetector.Config):
        """Options.

        Attributes:
            temperature: T, above 0.
            confident: whether large probabilities are the suspicious ones.
        """

        temperature: float = 1.0
        confident: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            check_temperature(self.temperature)

    lowest = -1.0
    highest = 1.0

    def value(self, answer: Array) -> float:
        """The largest probability with a sign, in [-1, 1]."""
        scaled = answer / self.config.temperature
        # exp(max s) / Σ exp(s)
        largest = float(1 / np.exp(scaled - scaled.max()).sum())
        return largest if self.config.confident else -largest

    def values_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The same of b × K scores."""
        largest: Tensor = (answers / self.config.temperature).softmax(dim=1).amax(dim=1)
        return largest if self.config.confident else -largest
