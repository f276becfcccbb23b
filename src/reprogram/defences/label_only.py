"""The first label alone is shown, without a number."""

from typing import ClassVar

from reprogram.defences._shown_numbers import ShownNumbers
from reprogram.hosts._shown import Shown
from reprogram.types import Access


class LabelOnly(ShownNumbers):
    """Shows the label with the largest number.

    Who knows it counts which labels come for which class (the label map `label-bayes`, the loss `leave-one-out`). It
    leaves no gradient.
    """

    access: ClassVar[Access] = "label"

    def shown(self) -> Shown:
        """One label without a number."""
        return Shown(labels=1, numbers=False)
