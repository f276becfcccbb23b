"""How high the energy of the host's scores is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from scipy.special import logsumexp

from reprogram.detectors._answered import AnswerDetector, check_temperature
from reprogram.detectors.base import Array

if TYPE_CHECKING:
    from torch import Tensor


class Energy(AnswerDetector):
    """- T log Σ exp(scores / T): low where the host sees much of any class, high where it sees little.

    A program that was learned until the host is sure of its labels lies on the low side: `low` turns the sign.

    Reference: Liu, Wang, Owens and Li, Energy-based Out-of-distribution Detection, NeurIPS 2020, section 3.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "scores"
    has_gradient = True

    @dataclass(frozen=True, kw_only=True)
    class Config(AnswerDetector.Config):
        """Options.

        Attributes:
            temperature: T, above 0.
            low: whether low energies are the suspicious ones.
        """

        temperature: float = 1.0
        low: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            check_temperature(self.temperature)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        # Below the energies of any scores that a host gives, with either sign: - T log K is among them.
        self.lowest = -1e4 * max(1.0, config.temperature)

    def value(self, answer: Array) -> float:
        """The energy with a sign, in units of the scores."""
        temperature = self.config.temperature
        energy = -temperature * float(logsumexp(answer / temperature))
        return float(-energy if self.config.low else energy)

    def values_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The same of b × K scores."""
        temperature = self.config.temperature
        energies: Tensor = -temperature * (answers / temperature).logsumexp(dim=1)
        return -energies if self.config.low else energies
