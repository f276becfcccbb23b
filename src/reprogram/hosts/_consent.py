"""Consent: what isn't on this machine is asked only where its user says, at each start, that they are authorised."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from reprogram.errors import ConfigError
from reprogram.utils.arguments import checked
from reprogram.utils.text import printable

_authorised: set[str] = set()
"""The names of the hosts that this process may send images to. It is never written anywhere."""


@checked
def authorise(*hosts: str) -> None:
    """Say, for this process, that you are authorised to send images to these hosts, and to learn on their answers.

    Nothing stores it: no configuration, run folder or program file can say it. Hosts of this machine need none.

    Args:
        hosts: exact names, or addresses, as they stand in the URLs: `vision.example`, without `https://` and port.

    Raises:
        ConfigError: a name is none.
    """
    for host in hosts:
        if not re.fullmatch(r"[A-Za-z0-9.:_-]+", host) or host.startswith("-") or "://" in host:
            raise ConfigError(
                f"--i-am-authorised {printable(host)[:80]}: the exact name of one host is expected, without https://, "
                "port and path"
            )
        _authorised.add(host.lower())


def authorised() -> tuple[str, ...]:
    """The hosts that this process was told it may ask, for the workers that it starts."""
    return tuple(sorted(_authorised))


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine by its name or address alone.

    Args:
        host: `localhost`, or an address of 127.0.0.0/8 or `::1`; no name is looked up.
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in ipaddress.ip_network("127.0.0.0/8") or address == ipaddress.ip_address("::1")


def checked_url(url: str, source: str) -> str:
    """A URL that images may be sent to.

    Args:
        url: `http://` or `https://`, a host, and perhaps a port and a path.
        source: the name of the host's source, for messages.

    Returns:
        The URL without a slash at its end.

    Raises:
        ConfigError: it is no such URL, it holds a password, or it isn't on this machine and nobody said that they are
            authorised to use it.
    """
    shown = printable(url)[:120]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[a-z0-9.:_-]+", host):
        raise ConfigError(f"{source}: {shown!r} is no URL; write http://HOST:PORT or https://HOST, and its path")
    if "@" in parts.netloc:
        raise ConfigError(f"{source}: the URL holds a user name; credentials come from environment variables only")
    if any(character in url for character in "?#\\") or not url.isprintable() or url != url.strip():
        raise ConfigError(
            f"{source}: {shown!r} has a query, a fragment, a backslash or space at an end; a plain URL is expected"
        )
    if not is_loopback(host) and host not in _authorised:
        raise ConfigError(
            f"{source}: {host} isn't this machine, so nothing is sent to it without your word: say --i-am-authorised "
            f"{host} (in Python: reprogram.authorise({host!r})) if you are allowed to use it so"
        )
    return url.rstrip("/")


def credential(variable: str, source: str) -> str:
    """A credential of the environment, without space around it: files of secrets end with a new line.

    Args:
        variable: the environment variable.
        source: the name of the host's source, for messages.

    Returns:
        The credential; empty where the variable isn't set.

    Raises:
        ConfigError: it can't stand in an HTTP header; the message doesn't show it.
    """
    text = os.environ.get(variable, "").strip()
    if not (text.isascii() and text.isprintable()):
        raise ConfigError(f"{source}: {variable} holds characters that no HTTP header has; set it anew")
    return text


def check_encrypted(url: str, source: str) -> None:
    """Refuse to send credentials in the clear to another machine.

    Args:
        url: a URL that was checked.
        source: the name of the host's source, for messages.

    Raises:
        ConfigError: it is `http://` on another machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"{source}: credentials would travel in the clear to {parts.hostname}; give an https:// URL, or unset them"
        )
