"""Build hosts, or find their sources, from specs."""

import re

import torch

from reprogram.errors import ConfigError
from reprogram.hosts._trial import try_out
from reprogram.hosts.base import Host, HostSource
from reprogram.registry import configure, find, is_listed
from reprogram.utils.contracts import breach


def load_host(spec: str, *, download: bool = False) -> Host:
    """Build a host from its spec, such as `efficientnet-lite0` or `timm:resnet50.a1_in1k`.

    Args:
        spec: the host's name and options.
        download: whether weights that aren't here may be fetched.

    Raises:
        ConfigError: no such host, or its id isn't a spec.
        HostUnavailableError: its weights aren't here.
    """
    source = host_source(spec)
    host = built(source, download=download)
    if not source.nameable():
        return host  # No program file may have it built, whatever its id says.
    try:
        host_source(host.info.id)
    except ConfigError as error:
        said = f"calls its host {host.info.id!r}, which is no spec that builds it again; let self.spec() be its id"
        raise breach(source, said) from error
    return host


def built(source: HostSource, *, download: bool = False) -> Host:
    """Build the host of a source and try it out.

    Args:
        source: the host's source.
        download: whether weights that aren't here may be fetched.

    Raises:
        ConfigError: the host can't be built so, or it can't be run on images of its size.
        HostUnavailableError: its weights aren't here.
    """
    with torch.inference_mode(False):
        host = source.built(download=download)
        try_out(host)
    return host


def host_source(spec: str) -> HostSource:
    """The source that a spec names, configured; no host is built yet.

    Args:
        spec: the host's name and options.

    Raises:
        ConfigError: no such host.
    """
    try:
        variant, config = configure("hosts", spec)
    except ConfigError as error:
        models = _models_named(spec) if isinstance(spec, str) else []
        if not models:
            raise
        raise ConfigError(f"no host named {spec!r}; did you mean {' or '.join(map(repr, models))}?") from error
    source: HostSource = variant(config)
    return source


def _models_named(spec: str) -> list[str]:
    """The specs of the libraries' models that a text names without its library, with the text's options."""
    name, options = re.fullmatch(r"([\w.-]*)(.*)", spec.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
    architecture = name.partition(".")[0]
    if options.startswith(":") or is_listed("hosts", architecture.replace("_", "-")):
        return []
    small = name.lower()
    for spelled in dict.fromkeys((name, small, small.replace("-", "_"), small.replace("-", ""))):  # Such as ResNet-50.
        architecture = spelled.partition(".")[0]
        known = {library: find("hosts", library).catalogue(f"{architecture}*") for library in ("timm", "torchvision")}
        found = [
            f"{library}:{spelled}{options}"
            for library, models in known.items()
            if architecture in {model.partition(".")[0] for model in models}
        ]
        if found:
            return found
    return []
