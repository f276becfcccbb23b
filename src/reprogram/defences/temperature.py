"""Scores are divided by a temperature: the numbers say less of what comes after the first labels, or of the first."""

from dataclasses import dataclass

from torch import Tensor

from reprogram.defences.base import OutputDefence
from reprogram.errors import ConfigError
from reprogram.utils.seeding import Draws


class Temperature(OutputDefence):
    """Shows the scores divided by T: above 1 all labels look alike, below 1 the first one looks certain.

    Nothing is lost until the numbers are rounded or get noise (`temperature(t=0.2)+rounding`). Who knows it multiplies
    the scores by T again; label maps that learn or fit their scale do so without knowing it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            t: the temperature T, 0.001 to 1000.
        """

        t: float = 0.2

        def __post_init__(self) -> None:
            if not 1e-3 <= self.t <= 1e3:
                raise ConfigError(f"t={self.t}; a temperature from 0.001 to 1000 is expected")

    def show(self, scores: Tensor, draws: Draws) -> Tensor:
        """The scores divided by T."""
        # s / T, b x K
        shown: Tensor = scores / self.config.t
        return shown
