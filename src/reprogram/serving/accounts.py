"""Who asks: bearer tokens, the account that each request counts for, and the requests a second that it may send."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from hmac import compare_digest

from reprogram.errors import ConfigError

VARIABLE = "MODEL_SERVER_TOKEN"
"""The environment variable that holds the tokens, between commas; hosts `oip:` and `http:` send its value."""

MAX_ACCOUNTS = 10_000
"""Accounts whose requests are remembered; the one that was seen longest ago is forgotten."""


class UnknownTokenError(Exception):
    """A request without a token that is known."""


def tokens_of_environment() -> tuple[str, ...]:
    """The tokens that clients have to send; none where the variable isn't set.

    Raises:
        ConfigError: the variable holds something that can't be a token.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return ()
    tokens = tuple(token.strip() for token in text.split(","))
    if not all(token and token.isascii() and token.isprintable() and " " not in token for token in tokens):
        raise ConfigError(f"{VARIABLE}: holds no token, or one with spaces; unset it, or give tokens between commas")
    return tokens


class Accounts:
    """Accounts by their tokens, or where none are asked for by the address that requests come from.

    Args:
        tokens: those that are known; none for a server that everybody may ask.
        rate: the requests a second of each account; None for no limit.
        clock: seconds.
    """

    def __init__(
        self, tokens: tuple[str, ...], rate: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def of(self, authorisation: str | None, address: str) -> str:
        """The account that a request counts for; never the token itself.

        Args:
            authorisation: the header `Authorization`.
            address: that the request comes from.

        Raises:
            UnknownTokenError: a token is asked for, and the request has none that is known.
        """
        if not self._tokens:
            return address
        scheme, _, sent = (authorisation or "").partition(" ")
        token = sent.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
        matches = [compare_digest(token, known) for known in self._tokens]  # All of them, whichever matches.
        if not any(matches):
            raise UnknownTokenError
        return f"token {matches.index(True) + 1}"

    def wait_s(self, account: str) -> float:
        """Count a request; the seconds until the account may send one, 0 where it may now.

        A token bucket: it holds max(1, rate) requests, and fills by `rate` a second.

        Args:
            account: as `of` gives it.
        """
        if self._rate is None:
            return 0.0
        now, most = self._clock(), max(1.0, self._rate)
        level, then = self._buckets.pop(account, (most, now))
        level = min(most, level + (now - then) * self._rate)
        admitted = level >= 1
        self._buckets[account] = (level - admitted, now)
        if len(self._buckets) > MAX_ACCOUNTS:
            self._buckets.popitem(last=False)
        return 0.0 if admitted else (1 - level) / self._rate
