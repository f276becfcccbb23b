"""The bodies of requests: read whole, within limits of each and of all together, and taken apart."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

READ_WITHIN_S, BYTES_A_SECOND = 15.0, 512 * 1024
"""Seconds that a client has for sending a body, and the bytes for which it gets another second."""

SMALL = 256 * 1024
"""Bytes of a body that is read at once; larger ones wait for room."""

AT_ONCE = 8
"""How many bodies of the largest size may be in memory at once; smaller ones share that room."""

WAIT_FOR_ROOM_S = 20.0
"""Seconds that a large body waits for room."""


class RefusedError(Exception):
    """A request that isn't answered.

    Args:
        status: the HTTP status.
        reason: one line.
        retry_after: the header of that name, if the client should come again.
    """

    def __init__(self, status: int, reason: str, *, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after


class BodyReader:
    """Reads bodies, which stay in memory; large ones together never take more than `AT_ONCE` times the largest.

    Args:
        most: the largest body, in bytes.
    """

    def __init__(self, most: int) -> None:
        self.most, self.room = most, AT_ONCE * most
        self._waiting: deque[asyncio.Event] = deque()

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body; its room is given back at the end of the block.

        Args:
            request: whose body wasn't read yet.

        Yields:
            The body.

        Raises:
            RefusedError: it is compressed, too large, or too slow, or there is no room for it now.
            ClientDisconnect: the client went away.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(415, "compressed bodies aren't read; send the body as it is")
        stated = request.headers.get("content-length", str(self.most))  # Chunked bodies don't state it.
        if not (stated.isascii() and stated.isdecimal()) or int(stated[:20]) > self.most:
            raise self._too_large()
        size = int(stated)
        held = size if size > SMALL else 0
        await self._take(held)
        try:
            yield await self._whole(request, READ_WITHIN_S + size / BYTES_A_SECOND)
        finally:
            self.room += held
            for event in self._waiting:
                event.set()

    async def _take(self, size: int) -> None:
        """Wait for room, in the order of the requests."""
        event = asyncio.Event()
        self._waiting.append(event)
        try:
            async with asyncio.timeout(WAIT_FOR_ROOM_S):
                while size > self.room or (size and self._waiting[0] is not event):
                    event.clear()
                    await event.wait()
        except TimeoutError:
            raise RefusedError(503, "too many large requests at once; come again", retry_after="5") from None
        finally:
            self._waiting.remove(event)
            for other in self._waiting:
                other.set()
        self.room -= size

    async def _whole(self, request: Request, within_s: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(within_s):
                async for part in request.stream():
                    size += len(part)
                    if size > self.most:
                        raise self._too_large()
                    parts.append(part)
        except TimeoutError:
            raise RefusedError(408, f"the body didn't come within {within_s:.0f} s; send it faster") from None
        return b"".join(parts)

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body has more than {self.most:,} bytes; send less at a time")


class _InMemory(MultiPartParser):
    """A parser that writes no file, however large a part is: the body is in memory already."""

    spool_max_size = 2**40


async def image_file(headers: Headers, body: bytes) -> bytes:
    """The image file in a body: the file of a form, or the body itself.

    Args:
        headers: of the request.
        body: whole.

    Raises:
        RefusedError: there is no file, or more than one.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        if not body:
            raise RefusedError(400, "the body is empty; send an image file, or a form with one")
        return body

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(headers, stream(), max_files=1, max_fields=20, max_part_size=65536).parse()
    except MultiPartException as error:
        raise RefusedError(400, f"the form can't be read: {error.message[:120]}; send one file in it") from None
    except (KeyError, ValueError, LookupError):
        raise RefusedError(400, "the form can't be read; send multipart/form-data with its boundary") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise RefusedError(400, "the form has no file; send the image as one of its files")
        return await files[0].read()
    finally:
        await form.close()
