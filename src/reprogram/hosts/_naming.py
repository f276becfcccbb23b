"""Helpers that several sources of hosts share: their specs, one-line errors, quiet loaders, checked arguments."""

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any
from urllib.parse import quote

from reprogram.errors import ConfigError


def host_id(source: str, argument: str, config: Any, *, skip: str) -> str:
    """The shortest spec of a host: `source:argument?key=value&...`, without defaults.

    Args:
        source: the name of the host's source.
        argument: what follows the colon.
        config: the source's `Config`.
        skip: the option that `argument` stands for.
    """
    options = []
    for item in fields(config):
        value = getattr(config, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if item.name == skip or value == default or (item.name == "seed" and getattr(config, "pretrained", False)):
            continue
        text = str(int(value)) if isinstance(value, bool) else value if isinstance(value, str) else repr(value)
        options.append(f"{item.name}={quote(text, safe=':,/()[]{}.=')}")
    return f"{source}:{argument}" + (f"?{'&'.join(options)}" if options else "")


def untrained_id(host: str, seed: int, batchnorm: str = "plain") -> str:
    """The spec of a host's untrained twin.

    Args:
        host: the host's spec.
        seed: decides the random weights.
        batchnorm: "plain" or "conditioned", an option of the source `untrained`.
    """
    if "?" in host:
        suffix = "" if batchnorm == "plain" else f", batchnorm={batchnorm!r}"
        return f"untrained(host={host!r}, seed={seed}{suffix})"
    return f"untrained:{host}?seed={seed}" + ("" if batchnorm == "plain" else f"&batchnorm={batchnorm}")


def one_line(error: BaseException) -> str:
    """An error's message in one line of at most 300 characters.

    Args:
        error: any exception; one without a message gives its class's name.
    """
    return re.sub(r"\s+", " ", str(error) or type(error).__name__).strip()[:300]


@contextlib.contextmanager
def hub(*, download: bool) -> Iterator[None]:
    """A context in which other libraries' loaders go online only where that is allowed, and log nothing.

    Args:
        download: whether they may go online.
    """
    from huggingface_hub import constants

    offline, silenced = constants.HF_HUB_OFFLINE, logging.root.manager.disable
    constants.HF_HUB_OFFLINE = offline or not download
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.disable(silenced)


def check_kwargs(kwargs: dict[str, Any], where: str = "kwargs") -> None:
    """Refuse arguments of an architecture that choose weights or files: specs are data, and may be a stranger's.

    Args:
        kwargs: the architecture's arguments.
        where: what holds them, for errors.

    Raises:
        ConfigError: an argument's name looks like a choice of weights or files, or of what a host decides itself.
    """
    for name in kwargs:
        if name in ("device", "dtype"):
            raise ConfigError(f"{where}: {name!r} isn't taken; a host chooses it itself (--device, --precision)")
        if any(part in name for part in ("pretrained", "checkpoint", "weights", "cache", "path", "file", "url", "hf_")):
            raise ConfigError(
                f"{where}: {name!r} isn't taken; weights come from the model's tag or from checkpoint:FILE"
            )
