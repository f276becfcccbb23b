"""Micro-batching: requests that wait are answered together, in one computing thread, from a queue that has an end."""

import asyncio
import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TURN = 8
"""Images of one request that are taken before it is the next one's turn: a large one doesn't hold up the small ones."""

Outcome = tuple[Tensor, ...]
"""What is computed for b images: tensors with b rows each."""


class FullError(Exception):
    """There is no room for more images.

    Args:
        wait_s: seconds until there probably is.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"full for {wait_s:.1f} s")
        self.wait_s = wait_s


@dataclass(eq=False)
class _Waiting:
    """A request's images, of which some may be under way or done."""

    name: str
    images: Tensor
    future: "asyncio.Future[Outcome]"
    loop: asyncio.AbstractEventLoop
    taken: int = 0
    done: list[Outcome] = field(default_factory=list)


class Batcher:
    """Computes what requests ask for, as many images at once as wait, up to a limit.

    Nothing is waited for: an idle computer begins with the first image, and while it computes, others gather. Requests
    take turns of `TURN` images.

    Args:
        compute: makes of b × c × h × w images, by the name of what they are asked of, tensors of b rows, by name. It is
            called in one thread, never twice at once.
        batch: the most images of a call.
        queue: the most images that wait or are computed.
        most_bytes: the most bytes of these images.
        on_batch: called in the computing thread with the images of each call and its seconds.
    """

    def __init__(
        self,
        compute: Callable[[Mapping[str, Tensor]], Mapping[str, Outcome]],
        *,
        batch: int,
        queue: int,
        most_bytes: int = 2**30,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self._compute, self._on_batch = compute, on_batch
        self.batch, self.queue, self.most_bytes = batch, queue, most_bytes
        self.images = self.num_bytes = 0
        self.seconds_per_image = 0.0
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    async def ask(self, name: str, images: Tensor) -> Outcome:
        """Compute something for images, together with what others ask for.

        Args:
            name: what the images are asked of.
            images: b × c × h × w, one image at least.

        Returns:
            Tensors of b rows.

        Raises:
            FullError: too many images wait already; or there are more than the queue ever holds.
        """
        loop, size = asyncio.get_running_loop(), images.numel() * images.element_size()
        waiting = _Waiting(name, images, loop.create_future(), loop)
        with self._changed:
            if self._closed or self.images + len(images) > self.queue or self.num_bytes + size > self.most_bytes:
                raise FullError(self.wait_s())
            self.images += len(images)
            self.num_bytes += size
            self._waiting.append(waiting)
            self._changed.notify()
        try:
            return await waiting.future
        finally:
            self.num_bytes -= size

    def wait_s(self) -> float:
        """Seconds that all images take that wait now, judged by those before them."""
        return max(0.1, self.images * self.seconds_per_image)

    def close(self) -> None:
        """Take nothing more, and return when all that was taken is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                parts = self._next_parts()
            self._answer(parts)

    def _next_parts(self) -> list[tuple[_Waiting, Tensor]]:
        """Up to a batch of images, turn by turn; a request whose client went away is dropped."""
        parts: list[tuple[_Waiting, Tensor]] = []
        room = self.batch
        while room and self._waiting:
            waiting = self._waiting.popleft()
            if waiting.future.cancelled():
                self.images -= len(waiting.images) - waiting.taken
                continue
            images = waiting.images[waiting.taken : waiting.taken + min(TURN, room)]
            parts.append((waiting, images))
            waiting.taken, room = waiting.taken + len(images), room - len(images)
            if waiting.taken < len(waiting.images):
                self._waiting.append(waiting)
        return parts

    def _answer(self, parts: list[tuple[_Waiting, Tensor]]) -> None:
        """Compute parts of requests, and deliver the requests that are whole now."""
        if not parts:
            return
        by_name: dict[str, list[tuple[_Waiting, Tensor]]] = {}
        for part in parts:
            by_name.setdefault(part[0].name, []).append(part)
        start, count = time.perf_counter(), sum(len(images) for _, images in parts)
        try:
            outcomes = self._compute({name: _joined([i for _, i in those]) for name, those in by_name.items()})
        except Exception as error:
            self._leave(count)
            for waiting in {id(part[0]): part[0] for part in parts}.values():
                self._fail(waiting, error)
            return
        self._measure(count, time.perf_counter() - start)
        self._leave(count)
        for name, those in by_name.items():
            sizes = [len(images) for _, images in those]
            rows = zip(*(torch.split(tensor, sizes) for tensor in outcomes[name]), strict=True)
            for (waiting, _), row in zip(those, rows, strict=True):
                waiting.done.append(row)
        for waiting in {id(part[0]): part[0] for part in parts}.values():
            if sum(len(row[0]) for row in waiting.done) == len(waiting.images):
                outcome = tuple(torch.cat(tensors) for tensors in zip(*waiting.done, strict=True))
                self._deliver(waiting, functools.partial(waiting.future.set_result, outcome))

    def _measure(self, images: int, seconds: float) -> None:
        """Seconds an image, of the latest batches mostly: s ← s + (t / n - s) / 5."""
        each = seconds / images
        self.seconds_per_image += (each - self.seconds_per_image) * (0.2 if self.seconds_per_image else 1.0)
        self._on_batch(images, seconds)

    def _leave(self, count: int) -> None:
        """Make room for as many images."""
        with self._changed:
            self.images -= count

    def _fail(self, waiting: _Waiting, error: Exception) -> None:
        """Say that a request can't be answered, and drop what of it still waits."""
        with self._changed:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self.images -= len(waiting.images) - waiting.taken
        self._deliver(waiting, lambda: waiting.future.set_exception(error))

    @staticmethod
    def _deliver(waiting: _Waiting, settle: Callable[[], Any]) -> None:
        def settled() -> None:
            if not waiting.future.done():
                settle()

        waiting.loop.call_soon_threadsafe(settled)


def retry_after(wait_s: float) -> str:
    """The header `Retry-After`: whole seconds, 1 at least.

    Args:
        wait_s: seconds until there is room.
    """
    return str(max(1, math.ceil(wait_s)))


def _joined(images: list[Tensor]) -> Tensor:
    """Images of several requests as one batch; levels become pixels in [0, 1] where some are such."""
    if any(part.dtype != images[0].dtype for part in images):
        images = [part.float() / 255 if part.dtype == torch.uint8 else part for part in images]
    return images[0] if len(images) == 1 else torch.cat(images)
