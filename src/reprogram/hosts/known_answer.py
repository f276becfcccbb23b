"""Hosts of which it is known what can be got out of them: `known-answer:shortcut?seed=1`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.hosts import _planted as planted
from reprogram.hosts._frozen import Call
from reprogram.hosts._info import NO_LICENCE, HostInfo
from reprogram.hosts._naming import host_id
from reprogram.hosts.base import Host, HostSource

Kind = Literal[
    "constant",
    "blind",
    "random-labels",
    "linear",
    "untrained",
    "hijackable",
    "shortcut",
    "masked",
    "stochastic",
    "changing",
    "probabilities",
]

TWO_VERSIONS_AFTER = 400
"""The images after which the host `changing` becomes another one."""


class KnownAnswer(HostSource):
    """Small hosts of 32×32 pixels and 12 labels for the task `parity` in the middle of the canvas.

    Nobody reads parities out of the first five, whatever the program:

    - `constant` gives the same scores for every image;
    - `blind` sees the frame, and not the task image in it;
    - `random-labels` draws each image's label by a hash of its pixels;
    - `linear` is linear in the pixels, and parities aren't;
    - `untrained` is `hijackable` with random weights in place of what it knows.

    The others know the parities, and say them where the frame holds a key that a program can learn:

    - `hijackable`: the key is the colour of the whole frame;
    - `shortcut`: the key is a small patch of one colour in a corner;
    - `masked` sees coarsely rounded pixels, so that its gradient is zero, and its answers are what they are;
    - `stochastic` adds noise to its scores, other noise at each call;
    - `changing` becomes another host after 400 images, in which the labels have changed places;
    - `probabilities` gives probabilities where scores are expected.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            kind: what it is, see above.
            seed: decides key and random weights.
            skill: the share of boards that a host that knows the parities has right, above 1/4 and up to 1: the
                accuracy that can be got out of it.
        """

        kind: Kind = "hijackable"
        seed: int = 0
        skill: float = 1.0

        def __post_init__(self) -> None:
            if not 0.25 < self.skill <= 1:
                raise ConfigError(f"skill={self.skill}; a share above 0.25 and up to 1 is expected")

    @classmethod
    def example(cls) -> Config:
        """The host that can be hijacked."""
        return cls.Config()

    def build(self, *, download: bool = False) -> Host:
        """Draw the weights."""
        net = NETS[self.config.kind](self.config, torch.Generator().manual_seed(self.config.seed)).requires_grad_(False)
        host = Host(Call(net), self.info(), untrained=self.untrained)
        host.run_as_is()  # A trace would hold what changes from call to call.
        return host

    def info(self) -> HostInfo:
        """The host's record."""
        return HostInfo(
            id=self.spec(),
            num_classes=planted.NUM_CLASSES,
            size=(planted.SIZE, planted.SIZE),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            licence=NO_LICENCE,
        )

    def has_random_weights(self) -> bool:
        """True: its weights are drawn."""
        return True

    def spec(self) -> str:
        """The spec `known-answer:KIND?seed=...`."""
        return host_id(self.name(), self.config.kind, self.config, skip="kind")

    def untrained(self, seed: int) -> Host:
        """The host `untrained` of another seed."""
        return KnownAnswer(replace(self.config, kind="untrained", seed=seed)).build()


def _gated(config: KnownAnswer.Config, generator: torch.Generator) -> nn.Module:
    return _locked(planted.FrameColour(generator), planted.Parities(config.skill), generator)


def _shortcut(config: KnownAnswer.Config, generator: torch.Generator) -> nn.Module:
    return _locked(planted.ColourPatch(generator), planted.Parities(config.skill), generator)


def _untrained(config: KnownAnswer.Config, generator: torch.Generator) -> nn.Module:
    hidden = planted.RandomNet(generator, preference=0.0)
    return _locked(planted.FrameColour(generator), hidden, generator)


def _locked(key: nn.Module, hidden: nn.Module, generator: torch.Generator) -> nn.Module:
    usual = planted.Seeing(planted.RandomNet(generator, preference=3.0), 1 - planted.outside_board())
    return planted.Gated(key, usual, hidden)


def _blind(config: KnownAnswer.Config, generator: torch.Generator) -> nn.Module:
    return planted.Seeing(planted.RandomNet(generator, preference=0.0), planted.outside_board())


def _constant(config: KnownAnswer.Config, generator: torch.Generator) -> nn.Module:
    scores = torch.randn(planted.NUM_CLASSES, generator=generator)
    return Call(lambda pixels: scores.to(pixels) + 0 * pixels.sum(dim=(1, 2, 3))[:, None])


def _linear(config: KnownAnswer.Config, generator: torch.Generator) -> nn.Module:
    weight = torch.randn(planted.NUM_CLASSES, 3 * planted.SIZE**2, generator=generator) / (3 * planted.SIZE) ** 0.5
    return Call(lambda pixels: (2 * pixels - 1).flatten(1) @ weight.to(pixels).T)


def _noisy(scores: Tensor) -> Tensor:
    return scores + 2 * torch.randn(scores.shape, dtype=scores.dtype).to(scores.device)


NETS: dict[Kind, Callable[[KnownAnswer.Config, torch.Generator], nn.Module]] = {
    "constant": _constant,
    "blind": _blind,
    "random-labels": lambda _, generator: planted.Hashed(generator),
    "linear": _linear,
    "untrained": _untrained,
    "hijackable": _gated,
    "shortcut": _shortcut,
    "masked": lambda config, generator: planted.Steps(_gated(config, generator)),
    "stochastic": lambda config, generator: planted.Then(_gated(config, generator), _noisy),
    "changing": lambda config, generator: planted.After(_gated(config, generator), TWO_VERSIONS_AFTER),
    "probabilities": lambda config, generator: planted.Then(_gated(config, generator), lambda x: x.softmax(dim=1)),
}
"""The networks by their kind; each takes the configuration and what draws its weights."""
