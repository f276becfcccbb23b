"""Detectors where traffic runs: a hook over decoded images, and a middleware for any ASGI server."""

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reprogram.detectors._detect import load_detector
from reprogram.detectors.base import Detector, Verdict
from reprogram.errors import ConfigError, DataError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""The four types of an ASGI application (asgi.readthedocs.io, version 3)."""

log = logging.getLogger(__name__)

METHODS = ("POST", "PUT", "PATCH")
"""Of requests whose bodies are looked at."""

MAX_BYTES = 64 * 2**20
"""Of a request's body that is looked at; larger ones are handed on unseen."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One detector's alarm for one image.

    Attributes:
        detector: its name.
        account: who asked.
        index: of the image in the request.
        verdict: score and alarm.
    """

    detector: str
    account: str
    index: int
    verdict: Verdict


class Watch:
    """Detectors that read every query of a service. Threads may call it at the same time.

    Attributes:
        images: how many were read, by all detectors that had to.
        unread: how many weren't: no C × H × W pixels, uint8, or answers that no detector takes.
        alarms: how often each detector's alarm rang, by its name.

    Args:
        detectors: detectors, their specs, or their files.
        on_alarm: called with each alarm, for a log or a counter. What it raises is logged, and the alarm counts.

    Raises:
        ConfigError: there are none, two have one name, or one has no threshold.
    """

    def __init__(
        self, detectors: Sequence[str | Path | Detector], *, on_alarm: Callable[[Alarm], None] | None = None
    ) -> None:
        self.detectors = [load_detector(one) for one in detectors]
        self.on_alarm = on_alarm
        names = [one.name() for one in self.detectors]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"detectors {names}; give at least one, and each once")
        for one in self.detectors:
            if one.threshold is None:
                raise ConfigError(f"{one.name()}: no threshold; calibrate it, save it, and give the file")
        self.images = self.unread = 0
        self.alarms = dict.fromkeys(names, 0)
        self._has_warned, self._lock = False, threading.Lock()

    @property
    def reads(self) -> set[str]:
        """What `see` needs as answers: any of "scores" and "features"."""
        return {str(one.reads) for one in self.detectors} - {"image"}

    def see(
        self,
        images: Sequence[Any],
        account: str = "",
        answers: Mapping[str, Any] | None = None,
        *,
        skip_bad: bool = False,
    ) -> list[Alarm]:
        """Read the images of one request.

        Args:
            images: C × H × W pixels each, uint8, as the host gets them.
            account: who asked.
            answers: what the host said, by "scores" and "features": b vectors each. A detector whose answers aren't
                there is left out.
            skip_bad: leave out images and answers that can't be read; the first is told to the log of this module.

        Returns:
            The alarms, in the order of the images.

        Raises:
            DataError: an image or an answer is wrong, or there are more or fewer answers than images. What was read
                before it has been counted.
        """
        given = dict(answers or {})
        wrong = next((name for name, values in given.items() if len(values) != len(images)), None)
        if wrong is not None:
            raise DataError(f"{len(given[wrong])} {wrong} for {len(images)} images; give as many")
        found = []
        for index, image in enumerate(images):
            is_read = True
            for one in self.detectors:
                if one.reads != "image" and one.reads not in given:
                    continue
                try:
                    verdict = one.observe(image, account, None if one.reads == "image" else given[one.reads][index])
                except DataError as error:
                    if not skip_bad:
                        raise
                    is_read = False
                    self.note_unread(error)
                    continue
                if verdict.alarm:
                    found.append(Alarm(detector=one.name(), account=account, index=index, verdict=verdict))
                    self._count(found[-1])
            with self._lock:
                self.images += is_read
                self.unread += not is_read
        return found

    def note_unread(self, error: Exception) -> None:
        """Tell the log of the first image or request that can't be read, as a warning.

        Args:
            error: why.
        """
        level = logging.DEBUG if self._has_warned else logging.WARNING
        self._has_warned = True
        log.log(level, "a query passes detectors unread: %s; later ones are told at the level DEBUG", error)

    def _count(self, alarm: Alarm) -> None:
        """Count an alarm, and tell of it."""
        with self._lock:
            self.alarms[alarm.detector] += 1
        try:
            if self.on_alarm is not None:
                self.on_alarm(alarm)
        except Exception:
            log.exception("on_alarm failed; the alarm counts all the same")


def account_of(scope: Scope) -> str:
    """Who sends a request: a digest of the header `authorization`, or the client's address where there is none.

    Args:
        scope: of an ASGI request.
    """
    for name, value in scope.get("headers", ()):
        if name.lower() == b"authorization":
            return "key-" + hashlib.blake2s(value, digest_size=12).hexdigest()
    client = scope.get("client")
    return f"address-{client[0]}" if client else "unknown"


class DetectionMiddleware:
    """Reads the images of POST, PUT and PATCH requests before an ASGI application answers them, in a thread beside it.

    A body that holds no images, can't be decoded or is too large is handed on unseen, and so is a single image that no
    detector can read: to refuse it is up to the application. The first such image, and the first error of `decode` or
    `account`, is a warning in the log of this module; `Watch.unread` counts images.

    Nobody has checked at this place who sends a request: by the default of `account` each made-up header
    `authorization` is an account of its own, so that an operator whose application refuses unknown ones gives a
    function that knows them. Detectors that read the host's answers are fed by `Watch.see` where the server has these.

    Args:
        app: the application.
        watch: the detectors.
        decode: gives the images of a request, from its scope and body; none where it holds none. Images are C × H × W,
            uint8, as the host gets them.
        action: what an alarm does: "log" hands the request on, "refuse" answers 429 in the application's place.
        account: says who sends a request.
        max_bytes: of a body that is looked at.
    """

    def __init__(
        self,
        app: App,
        *,
        watch: Watch,
        decode: Callable[[Scope, bytes], Sequence[Any]],
        action: Literal["log", "refuse"] = "log",
        account: Callable[[Scope], str] = account_of,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if action not in ("log", "refuse"):
            raise ConfigError(f"action={action!r}; 'log' or 'refuse' is expected")
        self.app, self.watch, self.decode, self.action = app, watch, decode, action
        self.account, self.max_bytes = account, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Args:
            scope: what the request is.
            receive: gives the parts of its body.
            send: takes the parts of the answer.
        """
        if scope["type"] != "http" or scope.get("method") not in METHODS:
            await self.app(scope, receive, send)
            return
        messages, body = [], bytearray()
        while True:
            message = await receive()
            messages.append(message)
            body += message.get("body", b"")
            if message["type"] != "http.request" or not message.get("more_body") or len(body) > self.max_bytes:
                break
        is_whole = messages[-1]["type"] == "http.request" and len(body) <= self.max_bytes
        # In a thread, so that other requests go on.
        rings = is_whole and await asyncio.to_thread(self._rings, scope, bytes(body))
        if rings and self.action == "refuse":
            await _refuse(send)
            return

        async def again() -> dict[str, Any]:
            return messages.pop(0) if messages else await receive()

        await self.app(scope, again, send)

    def _rings(self, scope: Scope, body: bytes) -> bool:
        """Whether an alarm rings. Whatever an operator's functions meet, the application gets the request."""
        try:
            decoded = self.decode(scope, body)
            images = [] if decoded is None else list(decoded)
            account = self.account(scope) if images else ""
            if not isinstance(account, str):
                raise DataError(f"the account {account!r} is no text; `account` has to return the account's name")
        except Exception as error:
            self.watch.note_unread(error)
            return False
        return bool(self.watch.see(images, account, skip_bad=True))


async def _refuse(send: Send) -> None:
    """Answer 429, in the form of the Open Inference Protocol's errors."""
    body = json.dumps({"error": "too many similar queries; ask the operator"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
