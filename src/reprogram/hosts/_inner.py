"""Sources whose hosts are made of another host: `restricted`, `untrained`, `defended` and their like."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from reprogram.errors import ConfigError
from reprogram.hosts._info import HostInfo
from reprogram.hosts.base import Host, HostSource
from reprogram.registry import configure, format_spec
from reprogram.types import Access


class InnerSource(HostSource):
    """A source whose `Config` names another host by `host`.

    Attributes:
        instead: what to do where the other host is of this source already.
        takes_services: whether the other host may be a service, of which nothing is here.
    """

    instead: ClassVar[str] = "say all options once"
    takes_services: ClassVar[bool] = False

    @classmethod
    def needs(cls, config: Any) -> list[Path]:
        """What the other host needs.

        Args:
            config: a `Config` of this source.
        """
        variant, options = configure("hosts", config.host)
        paths: list[Path] = variant.needs(options)
        return paths

    def build(self, *, download: bool = False) -> Host:
        """Build the other host, and this one of it.

        Where answers are bought, what the other one was asked while it was built is on the bill. A host that gives
        gradients computes here, and numbers what its defences draw from its own first image on.
        """
        inner = self._source().built(download=download)
        host = self.made_of(inner)
        if host.info.access != "gradient":
            host.meter = inner.meter
        host.asked_apart = inner.asked_apart + (0 if host.meter is inner.meter else inner.meter.billed)
        return host

    def made_of(self, host: Host) -> Host:
        """This source's host, made of the other one.

        Args:
            host: the other host.
        """
        raise NotImplementedError

    def info(self) -> HostInfo | None:
        """The record of the other host, with this one's name and access."""
        info = self._source().info()
        return info and replace(info, id=self.spec(), access=self._access(info.access))

    def has_random_weights(self) -> bool:
        """Whether those of the other host are random."""
        return self._source().has_random_weights()

    def nameable(self) -> bool:
        """Whether a stranger's program file may name the other host."""
        return self._source().nameable()

    def spec(self) -> str:
        """The spec, in which the other host is named by its own."""
        return format_spec(type(self)(replace(self.config, host=self._source().spec())))

    def _access(self, access: Access) -> Access:
        """What this host gives away where the other one gives `access`."""
        return access

    def check_asked_once(self, host: Host) -> None:
        """Refuse a host that stands for several answers of another one: what is made of its network would forget that.

        Args:
            host: the other host.

        Raises:
            ConfigError: it is asked several times about each image.
        """
        if host.asks_per_image != 1:
            raise ConfigError(f"{self.name()}: {self.config.host} is asked several times; put averaged outside")

    def _source(self) -> HostSource:
        """The other host's source."""
        variant, config = configure("hosts", self.config.host)
        if variant is type(self):
            raise ConfigError(f"{self.name()}: {self.config.host} is {self.name()} already; {self.instead}")
        source: HostSource = variant(config)
        if not source.is_local and not self.takes_services:
            raise ConfigError(
                f"{self.name()}: {self.config.host} is a service and shows what it shows; ask it as it is"
            )
        return source
