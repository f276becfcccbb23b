"""Numbers are rounded to a few decimals."""

from dataclasses import dataclass

from reprogram.defences._shown_numbers import ShownNumbers
from reprogram.errors import ConfigError
from reprogram.hosts._shown import MAX_DECIMALS, Kind, Shown


class Rounding(ShownNumbers):
    """Shows all labels with their numbers, rounded. Labels that are rounded to 0 look alike.

    Who knows it takes a number of 0 for a quarter of the last decimal, which is its evidence here, learns from what
    remains, or goes by the order of the labels (the loss `rank`). The gradient passes straight through.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            decimals: of the numbers, 0 to 12.
            kind: the numbers that are shown: `logits`, `probabilities`, `percent`, or `independent` sigmoids.
        """

        decimals: int = 2
        kind: Kind = "probabilities"

        def __post_init__(self) -> None:
            if not 0 <= self.decimals <= MAX_DECIMALS:
                raise ConfigError(f"decimals={self.decimals}; 0 to {MAX_DECIMALS} are expected")

    def shown(self) -> Shown:
        """All labels, rounded."""
        return Shown(kind=self.config.kind, round=self.config.decimals)
