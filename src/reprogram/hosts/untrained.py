"""The untrained twin of any host: `untrained:timm:resnet18?seed=1`, or with `&batchnorm=conditioned`."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from reprogram.errors import ConfigError
from reprogram.hosts._info import NO_LICENCE, HostInfo
from reprogram.hosts._inner import InnerSource
from reprogram.hosts._naming import untrained_id
from reprogram.hosts.base import Host
from reprogram.registry import MAX_SEED

IMAGES = 50
"""The number of images in the random batch that BatchNorm is conditioned on."""


class Untrained(InnerSource):
    """The same architecture and preprocessing with random weights; trained weights aren't needed.

    `plain` is the architecture's initialisation: BatchNorm's running means are 0 and its variances 1, so it changes
    nothing, and scores may barely depend on the image. `conditioned` gives each BatchNorm the mean and the variance of
    its own input over one batch of 50 images, every pixel uniform in [0, 1] and drawn from the seed, and leaves the
    rest as it is; dropout stays off.

    Reference: Englert & Lazic, Adversarial Reprogramming Revisited, NeurIPS 2022.
    """

    instead = "name the host itself"
    takes_services = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: spec of the host; one with options of its own goes in brackets: `untrained:(timm:resnet18?size=64)`.
            seed: decides the random weights and the random batch.
            batchnorm: `plain`, or `conditioned` on one batch of random images.
        """

        host: str
        seed: int = 0
        batchnorm: Literal["plain", "conditioned"] = "plain"

    @classmethod
    def example(cls) -> Config:
        """A tiny ResNet with conditioned BatchNorm."""
        host = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
        return cls.Config(host=host, seed=1, batchnorm="conditioned")

    def build(self, *, download: bool = False) -> Host:
        """Draw the weights, and run the random batch if BatchNorm is conditioned on it."""
        config = self.config
        host = self._source().untrained(config.seed)
        self.check_asked_once(host)
        if config.batchnorm == "conditioned":
            generator = torch.Generator().manual_seed(MAX_SEED + config.seed)  # Weights never have such a seed.
            condition(host, torch.rand(IMAGES, *host.info.shape, generator=generator))
        return Host(host.net, replace(host.info, id=self.spec()), untrained=self.untrained, guard=host.guard)

    def info(self) -> HostInfo | None:
        """The trained host's record, without its class names and licence."""
        info = self._source().info()
        return info and replace(info, id=self.spec(), class_names=None, licence=NO_LICENCE)

    def has_random_weights(self) -> bool:
        """True: its weights are never trained."""
        return True

    def spec(self) -> str:
        """The spec `untrained:HOST?seed=...`."""
        return untrained_id(self._source().spec(), self.config.seed, self.config.batchnorm)

    def untrained(self, seed: int) -> Host:
        """The same host with other random weights."""
        return Untrained(replace(self.config, seed=seed)).build()


def batchnorms(host: Host) -> list[_BatchNorm]:
    """The layers that `condition` sets: BatchNorm with running statistics.

    Args:
        host: the host that has them.
    """
    return [layer for layer in host.net.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


@torch.no_grad()
def condition(host: Host, pixels: Tensor) -> None:
    """Give each BatchNorm of a host the mean and the variance of its own input over one batch.

    Args:
        host: the host, whose buffers change.
        pixels: b x C x H x W in [0, 1].

    Raises:
        ConfigError: the host has no BatchNorm with running statistics.
    """
    layers = batchnorms(host)
    if not layers:
        raise ConfigError(f"host {host.info.id}: no BatchNorm to condition; leave batchnorm=conditioned out")
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.training, layer.momentum = True, 1.0  # In PyTorch, 1 forgets earlier statistics; Keras calls that 0.
    try:
        host.net((pixels - host.mean) / host.std)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.training, layer.momentum = False, momentum
