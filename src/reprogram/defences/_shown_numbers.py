"""Output defences that show a part of the numbers: what is shown, and what can be known again, is `hosts/_shown.py`."""

from torch import Tensor

from reprogram.defences.base import OutputDefence
from reprogram.hosts._shown import Chain, Shown
from reprogram.utils.seeding import Draws


class ShownNumbers(OutputDefence):
    """Shows what `shown` says; the gradient is that of the scores before.

    One that follows another one gets the numbers that it shows, as behind a service, where they are of its kind; else
    what they stand for.
    """

    def shown(self) -> Shown:
        """What is shown of the scores."""
        raise NotImplementedError

    def show(self, scores: Tensor, draws: Draws) -> Tensor:
        """The evidence of what is shown."""
        return Chain(((self.shown(), draws),)).evidence(scores)
