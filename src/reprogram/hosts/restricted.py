"""Any local host, degraded to what a query service shows: `restricted:efficientnet-lite0?access=label`."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts._encoding import Encoding
from reprogram.hosts._guard import Guard
from reprogram.hosts._info import HostInfo
from reprogram.hosts._inner import InnerSource
from reprogram.hosts._shown import Kind, Shown
from reprogram.hosts.base import Host
from reprogram.types import RANK, Access

Rung = Literal["scores", "topk", "label"]

ACCESS: dict[Rung, Access] = {"scores": "scores", "topk": "top-k", "label": "label"}
"""The access that each rung stands for."""


class Restricted(InnerSource):
    """A local host of which a caller sees no more than of a query service: no gradient, and only some of its scores.

    So learning by queries is tried without a network, beside white-box learning on the very same weights. The host
    sees images as a service does: 8 bits a channel, encoded. Its scores are the evidence of its answers: labels that
    aren't shown are censored, see the source `hosts/_shown.py`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: spec of the host; one with `?` of its own goes in brackets, as in `untrained`.
            access: `scores` shows all labels, `topk` the first `k` of them, `label` the first alone, without a number.
            k: the number of labels that `topk` shows; refused with other access.
            kind: the numbers that are shown: `logits`, `probabilities`, `percent`, or `independent` sigmoids.
            round: the decimals of the numbers; None for all.
            floor: labels with smaller numbers aren't shown, in units of `kind`; None for no limit.
            noise: the standard deviation of noise on the numbers, in units of `kind`.
            seed: decides the noise.
            encoding: how images are sent: `png`, or `jpeg`, which loses something.
            quality: of JPEG, 1 to 100.
        """

        host: str
        access: Rung = "scores"
        k: int = 5
        kind: Kind = "probabilities"
        round: int | None = None
        floor: float | None = None
        noise: float = 0.0
        seed: int = 0
        encoding: Encoding = "png"
        quality: int = 95

        def __post_init__(self) -> None:
            shown_of(self)
            if self.k != type(self).k and self.access != "topk":
                raise ConfigError(f"k={self.k}: only access=topk shows the first k labels, not access={self.access}")
            if not 1 <= self.quality <= 100:
                raise ConfigError(f"quality={self.quality}; 1 to 100 is expected")

    @classmethod
    def example(cls) -> Config:
        """The first labels of a tiny ResNet, with four decimals."""
        return cls.Config(host="timm:test_resnet(pretrained=False, num_classes=16, size=48)", access="topk", round=4)

    def made_of(self, host: Host) -> Host:
        """Restrict a host."""
        self.check_asked_once(host)
        access = self._access(host.info.access)
        return RestrictedHost(host, self.config, replace(host.info, id=self.spec(), access=access))

    def _access(self, access: Access) -> Access:
        return min(ACCESS[self.config.access], access, key=RANK.index)


class RestrictedHost(AnsweringHost):
    """A host that answers as a query service does.

    Args:
        host: the host that is restricted; its weights are shared.
        config: what is shown, and how images are sent.
        info: the record, with the access that is left.
    """

    takes_framed = True

    def __init__(self, host: Host, config: Restricted.Config, info: HostInfo) -> None:
        untrained = self._untrained if host.untrained is not None else None
        self.shown = shown_of(config)
        guard = replace(host.guard or Guard(()), last=(self.shown, config.seed))
        super().__init__(host.net, info, untrained=untrained, guard=guard)
        self.restricted, self.config = host, config
        self.encoding, self.quality = config.encoding, config.quality

    def ask(self, images: Any) -> Tensor:
        """Answer images as they arrive.

        Args:
            images: in [0, 1], b × C × H × W or a `Framed` batch.

        Returns:
            b × K scores, the evidence of what is shown.
        """
        return self._classified(images)

    def _untrained(self, seed: int) -> Host:
        assert self.restricted.untrained is not None
        twin = self.restricted.untrained(seed)
        return RestrictedHost(twin, self.config, replace(twin.info, access=self.info.access))


def shown_of(config: Restricted.Config) -> Shown:
    """What a configuration shows.

    Args:
        config: of the source `restricted`.
    """
    return Shown(
        labels={"scores": None, "topk": config.k, "label": 1}[config.access],
        numbers=config.access != "label",
        kind=config.kind,
        round=config.round,
        floor=config.floor,
        noise=config.noise,
    )
