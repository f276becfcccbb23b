"""The first few labels are shown, with their numbers."""

from dataclasses import dataclass
from typing import ClassVar

from reprogram.defences._shown_numbers import ShownNumbers
from reprogram.hosts._shown import Kind, Shown
from reprogram.types import Access


class TopK(ShownNumbers):
    """Shows the k labels with the largest numbers.

    Who knows it takes the labels that aren't shown for censored, not for 0, which is their evidence here; label maps
    such as `shown-bayes` go by which labels are shown at all. It leaves no gradient.
    """

    access: ClassVar[Access] = "top-k"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            k: how many labels are shown.
            kind: the numbers that are shown: `logits`, `probabilities`, `percent`, or `independent` sigmoids.
        """

        k: int = 5
        kind: Kind = "probabilities"

        def __post_init__(self) -> None:
            Shown(labels=self.k)

    def shown(self) -> Shown:
        """The first labels."""
        return Shown(labels=self.config.k, kind=self.config.kind)
