"""The rungs of access that a host can be audited on, and the spec of the host as each rung shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprogram.auditing.subject import RUNGS, Rung
from reprogram.errors import ConfigError
from reprogram.hosts._info import HostInfo
from reprogram.hosts.restricted import Restricted
from reprogram.registry import configure, format_spec
from reprogram.types import Access

OWN: Mapping[Access, Rung] = {"gradient": "gradient", "scores": "scores", "top-k": "top-5", "label": "label"}
"""The rung that a host stands on, by its access."""

SHOWN: Mapping[Rung, Mapping[str, Any]] = {
    "scores": {},
    "rounded-scores": {"round": 2},
    "top-5": {"access": "topk", "k": 5},
    "label": {"access": "label"},
}
"""The options of `restricted` that show what a rung shows."""


def host_of_rungs(spec: str, info: HostInfo, rungs: Sequence[Rung]) -> dict[Rung, str]:
    """The spec of the host on each rung on which it can be audited.

    A host that computes here is restricted to less than it shows. A service, and a host that is restricted already, is
    audited as it answers.

    Args:
        spec: of the host.
        info: its record, of which the access is read.
        rungs: that are wanted.

    Returns:
        Specs by rung, the one with most access first; rungs that the host can't be audited on are left out.

    Raises:
        ConfigError: it can be audited on none of them; names its own.
    """
    own = OWN[info.access]
    variant, config = configure("hosts", spec)
    fixed = variant is Restricted or not variant(config).is_local
    specs: dict[Rung, str] = {}
    for rung in RUNGS:
        if rung in rungs and rung == own:
            specs[rung] = spec
        elif rung in rungs and not fixed and RUNGS.index(rung) > RUNGS.index(own):
            specs[rung] = format_spec(Restricted(Restricted.Config(host=spec, **SHOWN[rung])))
    if not specs:
        wanted = ", ".join(rungs)
        raise ConfigError(f"{spec}: shows {own}, and can't be audited on {wanted}; give --rungs {own}")
    return specs
