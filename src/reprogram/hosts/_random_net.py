"""Hosts that are small networks with random weights."""

from dataclasses import replace

from torch import nn

from reprogram.hosts._info import NO_LICENCE, HostInfo
from reprogram.hosts._naming import host_id
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.seeding import seeded


class RandomNet(HostSource):
    """A network that nobody trains. A variant implements `network`; its `Config` has the fields named here.

    Args:
        config: has `size` in pixels, `num_classes`, `channels` and `seed`.
    """

    def network(self) -> nn.Module:
        """The network, b × C × size × size to b × K; its weights are drawn when it is made."""
        raise NotImplementedError

    def build(self, *, download: bool = False) -> Host:
        """Build the network and draw its weights from the seed; see `HostSource.build`."""
        with seeded(self.config.seed):
            net = self.network()
        return Host(net, self.info(), untrained=self.untrained)

    def info(self) -> HostInfo:
        """The host's record."""
        config = self.config
        return HostInfo(
            id=self.spec(),
            num_classes=config.num_classes,
            size=(config.size, config.size),
            channels=config.channels,
            mean=(0.5,) * config.channels,
            std=(0.5,) * config.channels,
            licence=NO_LICENCE,
        )

    def has_random_weights(self) -> bool:
        """True: its weights are never trained."""
        return True

    def spec(self) -> str:
        """The spec `NAME:SIZE?...`."""
        return host_id(self.name(), str(self.config.size), self.config, skip="size")

    def untrained(self, seed: int) -> Host:
        """The same network with other random weights; see `HostSource.untrained`."""
        return type(self)(replace(self.config, seed=seed)).build()
