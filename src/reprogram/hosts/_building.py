"""What the sources of hosts share."""

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any
from urllib.parse import quote

import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights from `seed`; the process's own random state comes back unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def host_id(source: str, argument: str, config: Any, *, skip: str) -> str:
    """The shortest spec of a host: `source:argument?key=value&...`, without defaults."""
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
    """The spec of the untrained twin of the host that a spec stands for."""
    if "?" in host:
        more = "" if batchnorm == "plain" else f", batchnorm={batchnorm!r}"
        return f"untrained(host={host!r}, seed={seed}{more})"
    return f"untrained:{host}?seed={seed}" + ("" if batchnorm == "plain" else f"&batchnorm={batchnorm}")


def one_line(error: BaseException) -> str:
    """An error's message in one line of at most 300 characters."""
    return re.sub(r"\s+", " ", str(error) or type(error).__name__).strip()[:300]


@contextlib.contextmanager
def hub(*, download: bool) -> Iterator[None]:
    """Other libraries' loaders: they go online only where that is allowed, and say nothing but by errors."""
    from huggingface_hub import constants

    offline, silenced = constants.HF_HUB_OFFLINE, logging.root.manager.disable
    constants.HF_HUB_OFFLINE = offline or not download
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.disable(silenced)
