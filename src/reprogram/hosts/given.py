"""A host that Python code holds: `given:NAME`, as `reprogram.audit` names a module, a function or a `Host`."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from reprogram.errors import HostUnavailableError
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.text import slug


class Given(HostSource):
    """A host of this process, by the name that `given` gave it. No other process can build it.

    Runs on such hosts have the name in their configuration. They go on only where the same host is given again, so
    their names hold the first digits of its fingerprint.
    """

    held: ClassVar[dict[str, Host]] = {}

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            name: of the host.
        """

        name: str

    @classmethod
    def example(cls) -> Config:
        """A tiny linear classifier."""
        linear = nn.Linear(3 * 48 * 48, 16)
        nn.init.constant_(linear.weight, 0.001)  # The same each time.
        net = nn.Sequential(nn.Flatten(), linear)
        return cls.Config(name=given(Host.wrap(net, size=48, name="given(name='example')"), "example").config.name)

    def build(self, *, download: bool = False) -> Host:
        """The host itself."""
        if self.config.name not in Given.held:
            raise HostUnavailableError(
                f"given:{self.config.name}: is held by the Python process that gave it; give it there again"
            )
        host = Given.held[self.config.name]
        host.asked_apart = -host.meter.billed  # Nothing is asked now, whatever its meter counted before.
        return host

    def nameable(self) -> bool:
        """False: a program file can't hold code."""
        return False


def given(host: Host, name: str = "") -> Given:
    """Hold a host under a name, so that configurations of this process can name it.

    Args:
        host: the host; it stays held as long as the process lives, or until another takes its name.
        name: of the host; by default its own with the first digits of its fingerprint.

    Returns:
        Its source, with the spec in `spec()`.
    """
    name = name or f"{slug(host.info.id)[:40]}-{host.fingerprint.rpartition(':')[2][:8]}"
    Given.held[name] = host
    return Given(Given.Config(name=name))
