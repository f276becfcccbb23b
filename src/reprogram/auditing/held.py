"""Hosts that Python code holds: audited by their own process, and left as they came."""

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from reprogram.hosts.base import Host
from reprogram.hosts.given import given

AnyHost = str | Host | nn.Module | Callable[[Tensor], Tensor]
"""What can be audited: a spec, a host, a module or a function."""


def held_host(host: Host | nn.Module | Callable[[Tensor], Tensor]) -> tuple[str, Host]:
    """The spec and the host of what Python code gives; it stays held by this process.

    Args:
        host: a host, or a module or function that `Host.wrap` takes.
    """
    wrapped = host if isinstance(host, Host) else Host.wrap(host)
    return given(wrapped).spec(), wrapped


@contextlib.contextmanager
def as_it_came(host: Host) -> Iterator[None]:
    """After the block, a host has the meter, the engine and the precision that it had before.

    Args:
        host: the host.
    """
    before = {name: getattr(host, name) for name in ("meter", "engine", "precision")}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(host, name, value)
