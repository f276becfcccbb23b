"""Hosts of a package of architectures, trained or not."""

from dataclasses import replace

from reprogram.hosts._naming import host_id
from reprogram.hosts.base import Host, HostSource


class ZooSource(HostSource):
    """An architecture by its name in a package.

    Args:
        config: has `model`, the package's name of architecture and weights, `pretrained` and `seed`.
    """

    def spec(self) -> str:
        """The spec `PACKAGE:MODEL?...`."""
        return host_id(self.name(), self.config.model, self.config, skip="model")

    def untrained(self, seed: int) -> Host:
        """The same architecture with random weights; see `HostSource.untrained`."""
        return type(self)(replace(self.config, pretrained=False, seed=seed)).build()
