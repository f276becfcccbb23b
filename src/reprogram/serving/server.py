"""The server's process: connections, their limits, signals, and a stop that loses no request."""

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from PIL import Image
from uvicorn.protocols.http.h11_impl import H11Protocol

from reprogram.errors import ConfigError
from reprogram.serving.app import create_app
from reprogram.serving.desk import Desk
from reprogram.utils.text import printable

log = logging.getLogger("reprogram.serving")

MOST_CONNECTIONS = 900
"""Open connections; most systems allow a process 1024 files."""

IDLE_S, HEAD_WITHIN_S = 75, 20.0
"""Seconds that a connection may be without a request, and that a request's head may take."""

LINGER_S = 1.0
"""Seconds in which a server that was told to stop still answers on connections that are open."""

SO_ATTACH_FILTER, DROP = 26, (0x06, 0, 0, 0)
"""Linux's socket option that attaches a packet filter, and the filter's one instruction: keep no byte (bpf(4))."""


class Protocol(H11Protocol):
    """HTTP/1.1 on a connection, with limits that Uvicorn's own lacks: slow heads, and too many connections."""

    def connection_made(self, transport: Any) -> None:
        """Refuse a connection where there are too many, or wait for its first request.

        Args:
            transport: of the connection.
        """
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(_plain(503, "too many connections; come again", "Retry-After: 1\r\n"))
            transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Take bytes; where they are no whole head, the rest may not take long.

        Args:
            data: what came.
        """
        super().data_received(data)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._late is not None:
            self._late.cancel()
            self._late = None
        elif not is_answering and self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_WITHIN_S, self._close_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection.

        Args:
            exc: why it is lost.
        """
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the protocol's form.

        Args:
            msg: why.
        """
        with contextlib.suppress(h11.LocalProtocolError):
            self.conn.send_failed()
        self.transport.write(_plain(400, msg))
        self.transport.close()

    def _close_late(self) -> None:
        self._late = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def _plain(status: int, reason: str, more: str = "") -> bytes:
    """An answer that closes the connection."""
    body = f'{{"error": "{reason}"}}'
    phrase = {400: "Bad Request", 503: "Service Unavailable"}[status]
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n{more}\r\n{body}".encode("ascii")


class Server(uvicorn.Server):
    """Uvicorn's server, with a stop that answers whatever was accepted, also what the kernel accepted for it.

    Args:
        config: Uvicorn's.
        desk: the server's state.
    """

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self.desk = desk
        desk.count_connections = lambda: len(self.server_state.connections)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new connections; open ones are answered once more, each with `Connection: close`.

        A client that sends requests one after the other gets such an answer while the server lingers. Connections on
        which nothing comes are closed then.

        Args:
            sockets: those that the server listens on.
        """
        self.desk.is_ready, self.desk.is_stopping = False, True
        start = asyncio.get_running_loop().time()
        for one in sockets or []:
            await self._take_last(one)
        while self.server_state.connections and not self.force_exit:
            if asyncio.get_running_loop().time() > start + LINGER_S:
                break
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        if asyncio.get_running_loop().time() > start + self.desk.options.stop_within:
            self.force_exit = True  # What was still under way isn't answered.

    async def _take_last(self, listening: socket.socket) -> None:
        """Accept the connections that the kernel holds, and close the socket at once: later ones are refused."""
        loop, last = asyncio.get_running_loop(), []
        loop.remove_reader(listening)
        listening.setblocking(False)
        deafen(listening)  # Else one may come between the last look and the close, while another thread computes.
        while True:
            try:
                last.append(listening.accept()[0])
            except OSError:  # None is left.
                break
        for server in self.servers:
            server.close()
        for one in last:
            one.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, one)

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """In the block, SIGINT, SIGTERM and, where it isn't ignored, SIGHUP stop the server; a second doesn't wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        hangup = getattr(signal, "SIGHUP", None)  # Not on Windows.
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
            numbers.append(hangup)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, or if that was said already, stop at once.

        Args:
            sig: the signal's number.
            frame: the code that it interrupts.
        """
        self.force_exit = self.should_exit
        self.should_exit = True


def deafen(listening: socket.socket) -> None:
    """Let Linux drop what comes to a listening socket; connections that it holds already can still be accepted.

    A client that begins to connect asks again after a second, and is refused once the socket is closed. On other
    systems nothing changes.

    Args:
        listening: a socket that listens.
    """
    if sys.platform != "linux":
        return
    drop = ctypes.create_string_buffer(struct.pack("=HBBI", *DROP))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(drop)))


def listen(address: str, port: int) -> socket.socket:
    """A socket that clients can connect to.

    Args:
        address: a name or an address of this machine.
        port: 0 for any that is free.

    Raises:
        ConfigError: it can't be had.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        one = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"address {printable(address)[:80]}: isn't one of this machine ({error})") from None
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(where)
        one.listen(1024)
    except OSError as error:
        one.close()
        reason = "is taken" if "in use" in str(error) else f"can't be had ({error.strerror})"
        raise ConfigError(f"{address}, port {port}: {reason}; give another --port, or 0 for one that is free") from None
    return one


def run(desk: Desk, listening: socket.socket, on_start: Callable[[Server], None] = lambda _: None) -> bool:
    """Serve until a signal, or the server's `should_exit`, says to stop.

    Args:
        desk: the server's state.
        listening: as `listen` returns it.
        on_start: called when the first client can be answered.

    Returns:
        Whether everything that was accepted was answered.
    """
    config = uvicorn.Config(
        create_app(desk),
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(max(1, desk.options.stop_within)),
    )
    server = Server(config, desk)
    failed: list[BaseException] = []

    async def serve() -> None:
        task = asyncio.ensure_future(server.serve(sockets=[listening]))
        while not (server.started or task.done()):
            await asyncio.sleep(0.01)
        try:
            if server.started:
                on_start(server)
        except BaseException as error:  # Raised below: the server ends in order first.
            failed.append(error)
            server.should_exit = True
        await task

    with warnings.catch_warnings():  # Of odd files; Python's filters belong to all threads.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
        asyncio.run(serve())
    if failed:
        raise failed[0]
    return not server.force_exit


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Send what the server logs to stderr, and nowhere else.

    Args:
        level: of the messages; DEBUG has a line for each request.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)))
    handler.setFormatter(logging.Formatter("%(asctime)s reprogram: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    for name, least in (
        ("reprogram.serving", level),
        ("uvicorn.error", logging.ERROR),
        ("python_multipart", logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
