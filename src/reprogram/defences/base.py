"""The contract of a defence: it stands between a caller and a host, and changes images, scores, or how often it asks.

An attacker who knows the defence is as much a part of it as the defence itself: each variant's docstring says what
helps him.
"""

from typing import Any, ClassVar

from torch import Tensor

from reprogram.defences._local import locally
from reprogram.framed import Framed
from reprogram.hosts._guard import Ask, Images
from reprogram.registry import Component
from reprogram.types import Access
from reprogram.utils.seeding import Draws
from reprogram.utils.straight_through import straight_through as straight_through


class Defence(Component):
    """Stands between a caller and a host. An author writes `answer`.

    Most defences change images alone (`InputDefence`, which asks for `transform`) or scores alone (`OutputDefence`,
    which asks for `show`).

    Attributes:
        access: the most that a caller gets from a host behind it; one that leaves "gradient" is differentiable, if only
            straight through.
        reads_scores: whether it changes scores, and not images: defences of both kinds may be listed in one order.

    Args:
        config: the variant's `Config`; an option `seed` decides what `draws` draws.
    """

    access: ClassVar[Access] = "gradient"
    reads_scores: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    def answer(self, ask: Ask, images: Images, draws: Draws) -> Tensor:
        """Answer images.

        Args:
            ask: asks what stands behind this defence for b × K scores; it may be called several times, with any number
                of images. The meter counts the images of the caller, not these.
            images: b × C × H × W pixels in [0, 1], or a `Framed` batch; b is at least 1.
            draws: the random numbers of these images.

        Returns:
            b × K scores, logits.
        """
        raise NotImplementedError


class InputDefence(Defence):
    """Changes images before the host sees them. An author writes `transform`.

    Attributes:
        reach: how many pixels away a pixel of the result may depend on; None for any number, or where it depends on
            chance. With a small reach, what a batch shares is computed once.

    Args:
        config: the variant's `Config`.
    """

    @property
    def reach(self) -> int | None:
        """See the class; None unless a variant says otherwise."""
        return None

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """Change images.

        Args:
            images: b × C × H × W in [0, 1]; with a `reach`, of any height and width.
            draws: the random numbers of these images.

        Returns:
            As many images of the same shape, in [0, 1]; with a gradient where it is to pass.
        """
        raise NotImplementedError

    def answer(self, ask: Ask, images: Images, draws: Draws) -> Tensor:
        """Ask for the changed images."""
        if not isinstance(images, Framed):
            return ask(self.transform(images, draws))
        if self.reach is None:
            return ask(self.transform(images.dense(), draws))
        return ask(locally(lambda part: self.transform(part, draws), images, self.reach))


class OutputDefence(Defence):
    """Changes scores before the caller sees them. An author writes `show`.

    Args:
        config: the variant's `Config`.
    """

    reads_scores = True

    def show(self, scores: Tensor, draws: Draws) -> Tensor:
        """Change scores.

        Args:
            scores: b × K logits.
            draws: the random numbers of their images.

        Returns:
            b × K logits; with a gradient where it is to pass.
        """
        raise NotImplementedError

    def answer(self, ask: Ask, images: Images, draws: Draws) -> Tensor:
        """Ask, and change the answer."""
        return self.show(ask(images), draws)
