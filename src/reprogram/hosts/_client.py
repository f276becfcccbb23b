"""The one HTTP client of all remote hosts: connections, time-outs, retries, and what is counted of them."""

import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reprogram.errors import HostUnavailableError
from reprogram.hosts._meter import Meter
from reprogram.hosts._throttle import Refusal, backoff_s, num_answered, refusal, spent_for_s
from reprogram.hosts._trial import first_line
from reprogram.hosts._wire import GarbledError, Request, Response, WrongAnswerError
from reprogram.utils.text import printable

MAX_RESPONSE = 64 * 2**20
"""The most bytes of a response."""

MAX_WAIT_S = 300.0
"""The longest wait that a service may ask for, in seconds."""

KEPT_S = 2.0
"""How long an idle connection is kept, in seconds: less than servers do, which close it after five or more."""

FEW = 5
"""The most tries, after its first, of a request that carries no images."""

UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)
"""What reading an answer raises where a service sends what nobody thought of."""

PIECE = 16 * 1024
"""Bytes that are sent at once: with more, a reader that takes a little now and then would hold up a whole request."""

HIDDEN = b"***"
Result = TypeVar("Result")


class Client:
    """Sends requests to one URL, and asks again where that may help.

    Connections are kept and used again. Redirects aren't followed, proxies and `.netrc` aren't read, certificates are
    verified, and no response is read beyond `MAX_RESPONSE`.

    Args:
        url: it was checked by `checked_url`.
        name: the host's, for messages.
        authorise: gives the headers that hold credentials; it is called for each try.
        secrets: texts that never get out: responses and messages hold `***` instead.
        timeout_s: the most seconds of a try.
        retries: the most tries of a request after its first.
        concurrency: the most requests under way at once.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        authorise: Callable[[Request], Mapping[str, str]] = lambda _: {},
        secrets: tuple[str, ...] = (),
        timeout_s: float = 30.0,
        retries: int = 10,
        concurrency: int = 4,
    ) -> None:
        self.url, self.name, self._authorise = url, name, authorise
        self._secrets = [secret.encode() for secret in sorted(secrets, key=len, reverse=True) if len(secret) > 3]
        self.timeout_s, self.retries, self.concurrency = timeout_s, retries, concurrency
        self._library, self._now = _library(name), threading.local()
        transport = _transport(self._library, self._now, concurrency)
        self._http = self._library.Client(
            transport=transport, timeout=timeout_s, follow_redirects=False, trust_env=False
        )
        weakref.finalize(self, self._http.close)
        self.reached = False
        self.sleep: Callable[[float], None] = time.sleep
        self._chance, self._closed_until, self._lock = random.Random(), 0.0, threading.Lock()

    def get(self, path: str) -> Response:
        """Ask for something that carries no image and isn't counted, such as the record of a model; `FEW` times.

        Args:
            path: follows the URL.

        Raises:
            HostUnavailableError: the service can't be reached, or refuses.
        """
        return self._insist(
            Request(path=path), lambda response: response, lambda _: Uncounted(), min(FEW, self.retries)
        )

    def ask(self, request: Request, decode: Callable[[Response], Result], *, images: int, meter: Meter) -> Result:
        """Send images until they are answered whole.

        Args:
            request: the request.
            decode: reads the response.
            images: how many the request carries.
            meter: counts every try before it is sent.

        Returns:
            What `decode` made of the answer.

        Raises:
            HostUnavailableError: the service can't be reached, refuses, or doesn't answer within the retries.
            BudgetError: the budget doesn't allow a try; it isn't sent.
        """
        return self._insist(request, decode, lambda retry: meter.request(images, retry=retry), self.retries)

    def _insist(
        self, request: Request, decode: Callable[[Response], Result], count: Callable[[bool], Any], retries: int
    ) -> Result:
        """Try until there is an answer; `count` gives the context that counts a try."""
        was_sent = False
        for retry in range(retries + 1):
            self._wait_until_open()
            with count(was_sent) as sent:
                outcome = self._try(request, decode, sent)
            was_sent = was_sent or sent.outcome != "unsent"
            if not isinstance(outcome, Refusal):
                return outcome
            reason = self._clean(outcome.reason)
            if not outcome.again:
                raise HostUnavailableError(f"host {self.name}: {self.url}: {reason}")
            self._check_wait(outcome.wait_s, reason)
            if retry < retries:
                self._pause(retry, outcome.wait_s)
        raise HostUnavailableError(
            f"host {self.name}: {self.url} didn't answer in {retries + 1} tries; the last: {reason}"
        )

    def _try(self, request: Request, decode: Callable[[Response], Result], sent: Any) -> Result | Refusal:
        """One try: the decoded answer, or why there is none."""
        try:
            response = self._exchange(request)
        except self._library.ConnectError as error:
            sent.unsent()
            return Refusal(reason=f"can't be reached ({first_line(error)})", again=self.reached)
        except (self._library.ConnectTimeout, self._library.PoolTimeout):
            sent.unsent()
            return Refusal(reason=f"can't be reached within {self.timeout_s:g} s", again=self.reached)
        except self._library.TimeoutException:
            return Refusal(reason=f"no answer within {self.timeout_s:g} s", again=True)
        except self._library.HTTPError as error:
            return Refusal(reason=f"the connection broke ({first_line(error)})", again=True)
        self.reached = True
        if 300 <= response.status < 400:
            sent.refused()
            where = printable(response.headers.get("location", "nowhere"))[:120]
            return Refusal(reason=f"redirects to {where}; redirects aren't followed, give that URL", again=False)
        if (refused := refusal(response.status, response.headers, response.document)) is not None:
            if not num_answered(response.document):  # Else a part of the images is billed, and nobody uses it: lost.
                sent.refused()
            return refused
        try:
            result = decode(response)
        except GarbledError as error:
            return Refusal(reason=str(error), again=True)
        except WrongAnswerError as error:
            sent.answered()
            return Refusal(reason=str(error), again=False)
        except UNREADABLE as error:
            sent.answered()
            return Refusal(reason=f"answers with what can't be read ({type(error).__name__})", again=False)
        sent.answered()
        if (spent := spent_for_s(response.headers)) is not None:
            self._open_at(min(spent, MAX_WAIT_S))
        return result

    def _exchange(self, request: Request) -> Response:
        """Send a request and read the response, all within the time-out."""
        self._now.deadline = time.monotonic() + self.timeout_s
        headers = {"Accept-Encoding": "identity", **request.headers, **self._authorise(request)}
        method = "GET" if request.body is None else "POST"
        with self._http.stream(method, self.url + request.path, content=request.body, headers=headers) as answer:
            body = bytearray()
            for part in answer.iter_raw():
                body += part
                if len(body) > MAX_RESPONSE:
                    raise HostUnavailableError(
                        f"host {self.name}: {self.url} answers with more than {MAX_RESPONSE:,} bytes; ask for fewer "
                        "images at once"
                    )
            content = bytes(body)
        for secret in self._secrets:
            content = content.replace(secret, HIDDEN)
        return Response(
            status=answer.status_code,
            headers={name.lower(): self._clean(value) for name, value in answer.headers.items()},
            body=content,
            clean=self._clean,
        )

    def _check_wait(self, wait_s: float | None, reason: str) -> None:
        if wait_s is not None and wait_s > MAX_WAIT_S:
            raise HostUnavailableError(
                f"host {self.name}: {self.url} asks to wait {wait_s:,.0f} s ({reason}); the longest wait is "
                f"{MAX_WAIT_S:.0f} s, go on later"
            )

    def _pause(self, retry: int, wait_s: float | None) -> None:
        """Wait until the next try may be sent; all requests wait where the service asks for it."""
        pause = backoff_s(retry, wait_s, self._chance)
        if wait_s is not None:
            self._open_at(pause)
        else:
            self.sleep(pause)

    def _open_at(self, pause: float) -> None:
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + pause)

    def _wait_until_open(self) -> None:
        while (pause := self._closed_until - time.monotonic()) > 0:
            self.sleep(pause)

    def _clean(self, text: str) -> str:
        """Text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret.decode(), HIDDEN.decode())
        return text


class Uncounted:
    """What stands for a metered request where nothing is counted."""

    outcome = ""

    def __enter__(self) -> "Uncounted":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def answered(self) -> None:
        """An answer came."""

    def refused(self) -> None:
        """The service refused."""

    def unsent(self) -> None:
        """Nothing could be sent."""


def _library(name: str) -> Any:
    """The package `httpx2`."""
    try:
        import httpx2
    except ImportError:
        raise HostUnavailableError(
            f"host {name}: the package httpx2 isn't installed; pip install 'reprogram[remote]'"
        ) from None
    return httpx2


def _transport(library: Any, now: threading.local, concurrency: int) -> Any:
    """What `httpx2` sends by, with deadlines: its own time-outs begin anew with each part that comes or goes."""
    import httpcore2

    context = library.create_ssl_context(trust_env=False)
    transport = library.HTTPTransport(verify=context)
    transport._pool = httpcore2.ConnectionPool(  # `httpx2` has no option for a network backend.
        ssl_context=context,
        max_connections=concurrency,
        keepalive_expiry=KEPT_S,
        network_backend=_Timed(httpcore2.SyncBackend(), now, httpcore2),  # type: ignore[arg-type]
    )
    return transport


class _Timed:
    """A network backend, or a connection of it: no step goes on after the deadline of its thread's exchange."""

    def __init__(self, inner: Any, now: threading.local, errors: Any) -> None:
        self._inner, self._now, self._errors = inner, now, errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def connect_tcp(self, **options: Any) -> "_Timed":
        left = self._left(self._errors.ConnectTimeout)
        return _Timed(self._inner.connect_tcp(**{**options, "timeout": left}), self._now, self._errors)

    def start_tls(self, **options: Any) -> "_Timed":
        left = self._left(self._errors.ConnectTimeout)
        return _Timed(self._inner.start_tls(**{**options, "timeout": left}), self._now, self._errors)

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._inner.read(max_bytes, self._left(self._errors.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), PIECE):
            self._inner.write(view[start : start + PIECE], self._left(self._errors.WriteTimeout))

    def _left(self, error: type[Exception]) -> float:
        left: float = self._now.deadline - time.monotonic()
        if left <= 0:
            raise error
        return left
