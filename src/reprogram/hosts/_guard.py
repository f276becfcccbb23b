"""What stands between a caller and a host's network: defences, in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from reprogram.framed import Framed
from reprogram.registry import format_spec
from reprogram.types import RANK, Access
from reprogram.utils.seeding import Draws

Images = Tensor | Framed
"""Pixels in [0, 1], b × C × H × W or a `Framed` batch."""

Ask = Callable[[Images], Tensor]
"""A function of images that returns the host's b × K scores."""


class Guarding(Protocol):
    """What a guard needs of a defence; `reprogram.defences.base.Defence` is the contract for authors."""

    access: Access
    reads_scores: bool
    config: Any

    def answer(self, ask: Ask, images: Images, draws: Draws) -> Tensor:
        """Answer images.

        Args:
            ask: asks what stands behind this defence.
            images: b × C × H × W in [0, 1], or a `Framed` batch.
            draws: the random numbers of these images.

        Returns:
            b × K scores.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Guard:
    """Several defences in front of one network.

    An image passes those that change images in their order, and the scores pass those that change scores in their
    order.

    Attributes:
        defences: in order.
    """

    defences: Sequence[Guarding]

    def spec(self) -> str:
        """The shortest specs of the defences in order, joined by `+`."""
        return "+".join(format_spec(defence) for defence in self.defences)  # type: ignore[arg-type]

    def limit(self, access: Access) -> Access:
        """What the defences leave of the access to a host.

        Args:
            access: without them.
        """
        return min((access, *(defence.access for defence in self.defences)), key=RANK.index)

    def answer(self, ask: Ask, images: Images, first: int) -> Tensor:
        """Answer images.

        Args:
            ask: asks the network itself.
            images: b × C × H × W in [0, 1], or a `Framed` batch; b is at least 1.
            first: the number of the first of them among all images that the host was asked for, from 0.

        Returns:
            b × K scores.
        """
        numbered = list(enumerate(self.defences))
        before = [item for item in numbered if not item[1].reads_scores]
        after = [item for item in numbered if item[1].reads_scores]
        for stream, defence in (*reversed(before), *after):  # From the network outwards.
            ask = self._behind(defence, ask, first, stream)
        return ask(images)

    @staticmethod
    def _behind(defence: Guarding, ask: Ask, first: int, stream: int) -> Ask:
        seed = getattr(defence.config, "seed", 0)

        def answer(images: Images) -> Tensor:
            return defence.answer(ask, images, Draws(seed=seed, first=first, count=len(images), stream=stream))

        return answer
