"""Any local host behind defences: `defended:efficientnet-lite0?by=jpeg(quality=75)`, several as `jpeg+rounding`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reprogram.errors import ConfigError
from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts._guard import Guard
from reprogram.hosts._info import HostInfo
from reprogram.hosts._inner import InnerSource
from reprogram.hosts.base import Host
from reprogram.registry import configure, format_spec
from reprogram.types import Access


class Defended(InnerSource):
    """A local host with defences before it, as its operator would run them.

    An image passes the defences that change images in their order, and the scores pass those that change scores in
    their order. What they draw at random depends on their seeds and on the image's number among all that were asked
    for; one process learns with the same numbers again, several processes draw others.

    A defence that shows less than numbers leaves less access. The others leave a gradient where the host gives one, as
    exactly as it is defined and else straight through: that is the attacker who has the weights and knows the defence.
    The attacker who only asks is `restricted:(defended:...)`. The weights are the host's own, so that a program
    that was learned on the bare host loads on this one: that is the attacker who doesn't know the defence.
    """

    instead = "name all defences in one `by`, in order"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: spec of the host; one with `?` of its own goes in brackets, as in `untrained`.
            by: the defences' specs in order, joined by `+`, or a list of them.
        """

        host: str
        by: str | tuple[str, ...]

    @classmethod
    def example(cls) -> Config:
        """Two defences before a tiny ResNet."""
        host = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
        return cls.Config(host=host, by="blur(sigma=1.0)+rounding(decimals=2)")

    def made_of(self, host: Host) -> Host:
        """Put a host behind its defences."""
        guard = self._guard()
        self.check_asked_once(host)
        if host.guard is not None or isinstance(host, AnsweringHost):
            raise ConfigError(
                f"defended: {self.config.host} shows less than a host does; put the restriction outside, as in "
                "restricted:(defended:HOST?by=...)"
            )
        return guarded(host, guard, self.spec())

    def spec(self) -> str:
        """The spec, with the shortest specs of host and defences."""
        return format_spec(Defended(Defended.Config(host=self._source().spec(), by=self._guard().spec())))

    def _access(self, access: Access) -> Access:
        return self._guard().limit(access)

    def _guard(self) -> Guard:
        by = self.config.by
        specs = split(by) if isinstance(by, str) else by
        if not specs:
            raise ConfigError("defended: by names no defence; `reprogram list defences` shows them")
        configured = [configure("defences", spec) for spec in specs]
        return Guard([variant(config) for variant, config in configured])


class DefendedHost(Host):
    """A host behind defences.

    Attributes:
        bare: the host itself, which knows what its weights are recognised by: a file's hash, or a function's name.
    """

    bare: Host

    @property
    def fingerprint(self) -> str:
        """That of the bare host: the weights are the same."""
        return self.bare.fingerprint


def guarded(host: Host, guard: Guard, spec: str) -> Host:
    """A host behind defences.

    Args:
        host: the host; its weights are shared.
        guard: the defences.
        spec: names the result.
    """
    info: HostInfo = replace(host.info, id=spec, access=guard.limit(host.info.access))
    bare = host.untrained

    def untrained(seed: int) -> Host:
        assert bare is not None
        twin: Host = bare(seed)
        return guarded(twin, guard, twin.info.id)

    made = DefendedHost(host.net, info, untrained=None if bare is None else untrained, guard=guard)
    made.bare = host
    return made


def split(by: str) -> Sequence[str]:
    """The specs in a text that joins them by `+`; one in brackets or quotes joins nothing.

    Args:
        by: such as `jpeg(quality=75)+rounding`.
    """
    parts, depth, quote, start = [], 0, "", 0
    for place, character in enumerate(by):
        if quote or character in "'\"":
            quote = "" if character == quote else quote or character
        elif character == "+" and not depth:
            parts.append(by[start:place])
            start = place + 1
        depth += (not quote) * ((character in "([{") - (character in ")]}"))
    return [part.strip() for part in (*parts, by[start:]) if part.strip() or parts]
