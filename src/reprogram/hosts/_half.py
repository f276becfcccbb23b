"""Whether a host can compute in the half precision that was asked for, and what is done where it can't."""

from collections.abc import Callable

import torch

from reprogram.engine.precision import FAILURES
from reprogram.errors import ConfigError, ReprogramError
from reprogram.framed import Framed
from reprogram.hosts import _parity
from reprogram.hosts.base import Host


def settle_precision(host: Host, trial: Callable[[], object], framed: Callable[[], Framed]) -> None:
    """Compute in float32 where "auto" stands for half precision, and the host doesn't compute in it, or too wrongly.

    The host's meter counts nothing of it.

    Args:
        host: the host; its precision may be changed.
        trial: what is to be computed, once.
        framed: a few canvases with their program, on which scores are compared with those in float32.

    Raises:
        ConfigError: another precision was asked for, and the host can't compute in it.
    """
    own, _ = host._dtype_and_device()
    if host.dtype == own:
        return
    try:
        with host.uncounted():
            trial()
            reason = _too_far(host, framed) if host.dtype != own else ""
    except ReprogramError:
        raise
    except FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
    if reason and host.precision != "auto":
        raise ConfigError(f"host {host.info.id}: can't compute in {host.precision} ({reason}); use float32")
    if reason:
        host.precision = "float32"


def _too_far(host: Host, framed: Callable[[], Framed]) -> str:
    """Why a host's scores in half precision mean too little; empty where they don't, or where it shows none."""
    if host.info.access != "gradient":
        return ""
    with torch.no_grad():
        error = _parity.half_error(host, framed())
    if error <= _parity.MEANINGLESS:
        return ""
    return "it overflows" if error == float("inf") else f"its scores differ from float32's by {error:.0%}"
