"""Normal noise is added to the numbers."""

import math
from dataclasses import dataclass

from reprogram.defences._shown_numbers import ShownNumbers
from reprogram.errors import ConfigError
from reprogram.hosts._shown import Kind, Shown


class Noise(ShownNumbers):
    """Shows all labels, their numbers with noise that is drawn anew for each answer.

    Who knows it asks several times and takes the mean (the host `averaged`), or lets many images average it. The
    gradient is that of the numbers without noise.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            deviation: the standard deviation of the noise, in units of `kind`, 0 or more.
            kind: the numbers that are shown: `logits`, `probabilities`, `percent`, or `independent` sigmoids.
            seed: decides the noise.
        """

        deviation: float = 0.1
        kind: Kind = "probabilities"
        seed: int = 0

        def __post_init__(self) -> None:
            if not 0 <= self.deviation < math.inf:
                raise ConfigError(f"deviation={self.deviation}; 0 or a positive standard deviation is expected")

    def shown(self) -> Shown:
        """All labels, with noise."""
        return Shown(kind=self.config.kind, noise=self.config.deviation)
