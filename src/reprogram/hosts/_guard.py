"""What stands between a caller and a host's network: defences, in order."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from reprogram.framed import Framed
from reprogram.hosts._shown import Chain, Shown
from reprogram.registry import format_spec
from reprogram.types import RANK, Access
from reprogram.utils.seeding import Draws

Images = Tensor | Framed
"""Pixels in [0, 1], b × C × H × W or a `Framed` batch."""

Ask = Callable[[Images], Tensor]
"""A function of images that returns the host's b × K scores."""

STREAMS = 2**16
"""More than there are defences before a host: what is asked for again within one answer draws from other streams."""


class Guarding(Protocol):
    """What a guard needs of a defence; `reprogram.defences.base.Defence` is the contract for authors.

    One that has a method `shown` shows a part of the numbers, and nothing else.
    """

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
class _Step:
    """Something that an answer comes through.

    Attributes:
        does: a defence, or what is shown of the numbers.
        seed: of what it draws.
        stream: of its random numbers.
    """

    does: Guarding | Shown
    seed: int
    stream: int


@dataclass(frozen=True)
class Guard:
    """Several defences in front of one network.

    An image passes those that change images in their order, and the scores pass those that change scores in their
    order.

    Attributes:
        defences: in order.
        last: what a service shows of all that, and the seed of its noise; None for everything.
        gives_numbers: whether the answer is the numbers that are shown in the end, and not the scores that they stand
            for, so that a caller can take the mean of several.
    """

    defences: Sequence[Guarding]
    last: tuple[Shown, int] | None = None
    gives_numbers: bool = False

    def spec(self) -> str:
        """The shortest specs of the defences in order, joined by `+`."""
        return "+".join(format_spec(defence) for defence in self.defences)  # type: ignore[arg-type]

    def limit(self, access: Access) -> Access:
        """What the defences leave of the access to a host.

        Args:
            access: without them.
        """
        return min((access, *(defence.access for defence in self.defences)), key=RANK.index)

    @property
    def shown(self) -> Shown | None:
        """What is shown of the numbers in the end; None where nothing is left out."""
        shown = [merged for group in self._groups if (merged := _merged(group)) is not None]
        return shown[-1] if shown else None

    @property
    def shown_last(self) -> Shown | None:
        """What is shown where nothing but that comes last; None where another defence changes it."""
        return _merged(self._groups[-1]) if self._groups else None

    def answer(self, ask: Ask, images: Images, first: int) -> Tensor:
        """Answer images.

        Args:
            ask: asks the network itself.
            images: b × C × H × W in [0, 1], or a `Framed` batch; b is at least 1.
            first: the number of the first of them among all images that the host was asked for, from 0.

        Returns:
            b × K scores; or b × K numbers, see `gives_numbers`.
        """
        for group in self._groups:
            ask = _behind(group, ask, first, self.gives_numbers and group is self._groups[-1])
        return ask(images)

    @cached_property
    def _groups(self) -> list[list[_Step]]:
        """The steps of an answer from the network outwards, those together that show parts of the same numbers."""
        steps = [_Step(defence, getattr(defence.config, "seed", 0), n) for n, defence in enumerate(self.defences)]
        groups = [[step] for step, defence in zip(steps, self.defences, strict=True) if not defence.reads_scores][::-1]
        for step, defence in zip(steps, self.defences, strict=True):
            if defence.reads_scores:
                shows = getattr(defence, "shown", None)
                _add(groups, step if shows is None else _Step(shows(), step.seed, step.stream))
        if self.last is not None:
            _add(groups, _Step(*self.last, len(steps)))
        return groups


def _add(groups: list[list[_Step]], step: _Step) -> None:
    """Let a step follow all others, in the last group where it restricts the numbers that this one shows."""
    before = _merged(groups[-1]) if groups else None
    if before is not None and isinstance(step.does, Shown) and before.then(step.does) is not None:
        groups[-1].append(step)
    else:
        groups.append([step])


def _merged(group: list[_Step]) -> Shown | None:
    """What a group's steps show together; None where it is no such group."""
    steps = [step.does for step in group if isinstance(step.does, Shown)]
    return Chain.merged(steps) if steps else None


def _behind(group: list[_Step], ask: Ask, first: int, gives_numbers: bool) -> Ask:
    """Ask through a group of steps."""
    calls = itertools.count()

    def answer(images: Images) -> Tensor:
        offset = STREAMS * next(calls)
        draws = [Draws(seed=step.seed, first=first, count=len(images), stream=step.stream + offset) for step in group]
        does = group[0].does
        if not isinstance(does, Shown):
            return does.answer(ask, images, draws[0])
        chain = Chain([(step.does, d) for step, d in zip(group, draws, strict=True) if isinstance(step.does, Shown)])
        return chain.numbers(ask(images))[0] if gives_numbers else chain.evidence(ask(images))

    return answer
