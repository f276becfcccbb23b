"""A host that is asked several times about each image, for answers by chance: `averaged:(restricted:...)?times=4`."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.hosts._guard import Guard
from reprogram.hosts._info import HostInfo
from reprogram.hosts._inner import InnerSource
from reprogram.hosts._meter import Meter
from reprogram.hosts._shown import Shown
from reprogram.hosts.base import Host

MAX_TIMES = 10_000
"""The most questions about one image."""


class Averaged(InnerSource):
    """What an attacker takes for the answer of a host that answers by chance: the mean of several answers.

    He knows that the host draws something anew for each answer: noise on its numbers, a random place of the image, the
    copies that vote. He asks `times` times about each image, while he learns and afterwards, and each answer counts.
    The mean is that of the probabilities; of labels alone it is how often each came; of numbers with noise, that of the
    numbers that are shown, of which some are below 0. Where the host gives a gradient, it is that of the mean.

    Reference: Athalye, Carlini and Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018, section 4.2
    (expectation over transformation).
    """

    instead = "say one number of times"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: spec of the host; one with `?` of its own goes in brackets, as in `untrained`.
            times: how often each image is asked about, 1 to 10,000.
        """

        host: str
        times: int = 4

        def __post_init__(self) -> None:
            if not 1 <= self.times <= MAX_TIMES:
                raise ConfigError(f"times={self.times}; 1 to {MAX_TIMES:,} are expected")

    @classmethod
    def example(cls) -> Config:
        """Two answers of a host that adds noise."""
        host = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
        return cls.Config(host=f"defended(host={host!r}, by='noise')", times=2)

    def made_of(self, host: Host) -> Host:
        """Ask a host several times."""
        return AveragedHost(host, self.config.times, replace(host.info, id=self.spec()))


class AveragedHost(Host):
    """A host whose answer is the mean of several answers of another one.

    Args:
        host: the other host; its weights are shared.
        times: how often it is asked.
        info: the record.
    """

    def __init__(self, host: Host, times: int, info: HostInfo) -> None:
        untrained = self._untrained if host.untrained is not None else None
        super().__init__(host.net, info, untrained=untrained, guard=host.guard)
        self.inner, self.asks_per_image = host, times
        self.noisy = None if host.guard is None else _noisy_numbers(host.guard)
        if host.guard is not None and self.noisy is not None:
            host.guard = replace(host.guard, gives_numbers=True)

    def _classified(self, pixels: Tensor, labels: Tensor | None = None) -> Tensor:
        first, inner, times = self.asked, self.inner, self.asks_per_image
        inner.engine, inner.precision, inner._prepared = self.engine, self.precision, self._prepared
        answers = []
        for time in range(times):
            self.meter.count(len(pixels))
            # The other host's meter only numbers the answers, by which it draws.
            inner.meter = Meter(images=first + time * len(pixels))
            answers.append(inner(pixels))
            self.precision = inner.precision  # It may have found that "auto" has to be float32.
        if self.noisy is not None:
            mean = torch.stack(answers).mean(dim=0)
            return replace(self.noisy, noise=self.noisy.noise / times**0.5).evidence(mean, torch.ones_like(mean) > 0)
        # log(Σ p / times), b x K
        logs = torch.stack(answers).log_softmax(dim=2)
        return logs.logsumexp(dim=0) - torch.tensor(float(times)).log().to(logs)

    def _untrained(self, seed: int) -> Host:
        assert self.inner.untrained is not None
        twin: Host = self.inner.untrained(seed)
        return AveragedHost(twin, self.asks_per_image, replace(twin.info, id=twin.info.id))


def _noisy_numbers(guard: Guard) -> Shown | None:
    """What is shown in the end, if it is all labels' numbers with noise on them."""
    shown = guard.shown_last
    if shown is None or not (shown.noise and shown.numbers) or shown.labels is not None or shown.floor is not None:
        return None
    return shown
