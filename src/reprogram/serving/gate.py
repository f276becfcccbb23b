"""What every request passes: who asks and how often, errors in one form, headers, counts and the log."""

import json
import logging
import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reprogram.errors import DataError
from reprogram.serving.accounts import UnknownTokenError
from reprogram.serving.batcher import retry_after
from reprogram.serving.bodies import RefusedError
from reprogram.serving.desk import Desk
from reprogram.utils.text import printable

log = logging.getLogger("reprogram.serving")

OPEN = {"/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready"}
"""Paths that need no token: they say nothing but whether the server is there, and load the page that asks for one."""

ABSOLUTE = re.compile("https?://[^/]*", re.IGNORECASE)
"""What comes before the path where a client sends the whole address, which each server takes (RFC 9112, 3.2.2)."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
"""Headers of every answer."""


class Gate:
    """Wraps the application.

    Args:
        app: the application.
        desk: the server's state.
    """

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self.app, self.desk = app, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Args:
            scope: as ASGI has it.
            receive: as ASGI has it.
            send: as ASGI has it.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # Answered as GET is; the protocol below leaves the body out.
            scope = {**scope, "method": "GET"}
        if whole := ABSOLUTE.match(scope["path"]):
            scope = {**scope, "path": scope["path"][whole.end() :] or "/"}
        start, answer = time.perf_counter(), _Answer(send, self.desk)
        try:
            self._admit(scope)
            await self.app(scope, receive, answer.send)
        except (RefusedError, DataError) as error:
            await answer.refuse(*refused(error))
        except ClientDisconnect:
            answer.status = 499
        except Exception:
            log.exception("a request couldn't be answered")
            await answer.refuse(500, "the server failed; its log says more", {})
        self._count(scope, answer.status, time.perf_counter() - start)

    def _admit(self, scope: Scope) -> None:
        """Find the account, and refuse unknown ones and those that ask too often."""
        address = (scope.get("client") or ("unknown", 0))[0]
        if scope["path"] in OPEN:
            return
        try:
            scope["account"] = self.desk.accounts.of(Headers(scope=scope).get("authorization"), address)
        except UnknownTokenError:
            self._limit(address)  # Whoever guesses tokens may try no more of them than others may ask.
            raise RefusedError(401, "a bearer token is needed; send it in the header Authorization") from None
        if scope["method"] == "POST":
            self._limit(scope["account"])

    def _limit(self, account: str) -> None:
        """Count a request of an account, and refuse it where the account asks too often."""
        if wait_s := self.desk.accounts.wait_s(account):
            rate = self.desk.options.rate
            raise RefusedError(429, f"more than {rate:g} requests a second", retry_after=retry_after(wait_s))

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self.desk.metrics.requests.labels(route, str(status)).inc()
        self.desk.metrics.seconds.labels(route).observe(seconds)
        log.debug("%s %s %s %d %.1f ms", scope.get("account", "-"), scope["method"], route, status, 1000 * seconds)


def _route(scope: Scope) -> str:
    """The template of a request's route, also where the request was refused before it got there; else "none"."""
    if "route" in scope:
        return getattr(scope["route"], "path", "none")
    matching = (route for route in scope["app"].routes if route.matches(scope)[0] is Match.FULL)
    return getattr(next(matching, None), "path", "none")


def refused(error: Exception) -> tuple[int, str, dict[str, str]]:
    """The status, the line and the headers of an error that is the client's, or of a full server.

    Args:
        error: a `RefusedError` or `DataError`.
    """
    if not isinstance(error, RefusedError):
        return 400, printable(error)[:300], {}
    headers = {"Retry-After": error.retry_after} if error.retry_after else {}
    headers |= {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return error.status, printable(error.reason)[:300], headers


class _Answer:
    """Sends an answer with the headers that each has, once."""

    def __init__(self, send: Callable[[MutableMapping[str, Any]], Any], desk: Desk) -> None:
        self._send, self._desk = send, desk
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"connection", b"close")] if self._desk.is_stopping else []
            message["headers"] = [*message.get("headers", []), *HEADERS, *own]
        await self._send(message)

    async def refuse(self, status: int, reason: str, headers: dict[str, str]) -> None:
        """Send an error in the protocol's form, unless an answer has begun already."""
        if self.status:
            return
        body = json.dumps({"error": reason}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})
