"""What all routes share: limits, the queue, the counts; and how an image gets from a request to its scores."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from torch import Tensor

from reprogram.serving.accounts import Accounts
from reprogram.serving.answering import HOST, Answering, Detector, Served, watched
from reprogram.serving.batcher import Batcher, FullError, Outcome, retry_after
from reprogram.serving.bodies import BodyReader, RefusedError
from reprogram.serving.metrics import Metrics
from reprogram.serving.options import ServeOptions
from reprogram.serving.samples import Sample
from reprogram.utils.text import printable

log = logging.getLogger("reprogram.serving")
Result = TypeVar("Result")

HELPERS = 2
"""Threads that decode image files and take large requests apart."""

SMALL = 64 * 1024
"""Bytes of a request, and numbers of an answer, up to which a helper isn't worth its switching of threads."""


class Desk:
    """The state of one server.

    Args:
        answering: what is served.
        options: of the server.
        tokens: bearer tokens; none for a server that everybody may ask.
        samples: images to try each program with, by its name.
        detectors: look at the images that the host itself is sent, and at its answers, before these are sent back.
    """

    def __init__(
        self,
        answering: Answering,
        options: ServeOptions,
        *,
        tokens: tuple[str, ...] = (),
        samples: Mapping[str, Sequence[Sample]] | None = None,
        detectors: Sequence[Detector] = (),
    ) -> None:
        self.answering, self.options = answering, options
        self.accounts, self.needs_token = Accounts(tokens, options.rate), bool(tokens)
        self.samples, self.detectors = dict(samples or {}), list(detectors)
        self.bodies = BodyReader(options.max_bytes)
        self.metrics = Metrics(lambda: self.batcher.images, lambda: self.count_connections())
        self.batcher = Batcher(answering.compute, batch=options.batch, queue=options.queue, on_batch=self.metrics.batch)
        self.helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="helper")
        self.watcher = ThreadPoolExecutor(1, thread_name_prefix="watcher")
        self.is_ready, self.is_stopping = False, False
        self.count_connections: Callable[[], int] = lambda: 0

    def served(self, model: str, version: str | None = None) -> Served:
        """What a client names.

        Args:
            model: its name.
            version: its version; None for the one that there is.

        Raises:
            RefusedError: there is no such thing.
        """
        served = self.answering.served.get(model)
        if served is None:
            raise RefusedError(404, f"no model {printable(model)[:60]!r}; there is {', '.join(self.answering.served)}")
        if version not in (None, served.version):
            raise RefusedError(404, f"{model} has no version {printable(version)[:60]!r}; it has {served.version}")
        return served

    async def helped(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function returns, called in a helper's thread.

        Args:
            function: takes long enough.
            arguments: its arguments.
        """
        return await asyncio.get_running_loop().run_in_executor(self.helpers, function, *arguments)

    async def scores(self, served: Served, images: Tensor, account: str) -> Outcome:
        """The scores of some images; they are counted once they are there.

        Args:
            served: what is asked.
            images: b × c × h × w: uint8, or pixels in [0, 1].
            account: who asks.

        Returns:
            b × k scores of the labels, and b × K scores of the host.

        Raises:
            RefusedError: too many images wait, or these are more than ever may; or a detector's alarm rang.
        """
        if len(images) > self.batcher.queue:
            raise RefusedError(400, f"{len(images)} images; at most {self.batcher.queue} are taken in a request")
        try:
            outcome = await self.batcher.ask(served.name, images)
        except FullError as full:
            raise RefusedError(
                503, f"{self.batcher.images} images wait already; come again", retry_after=retry_after(full.wait_s)
            ) from None
        if served.name == HOST and self.detectors:
            await self._watch(images, account, outcome[1])
        self.metrics.images.labels(served.name).inc(len(images))
        return outcome

    async def _watch(self, images: Tensor, account: str, scores: Tensor) -> None:
        """Let detectors see what the host itself was sent, in one thread; alarms are counted and logged."""
        loop = asyncio.get_running_loop()
        alarms = await loop.run_in_executor(self.watcher, watched, self.detectors, images, account, scores)
        for alarm in alarms:
            self.metrics.alarms.labels(str(getattr(alarm, "detector", "detector"))).inc()
        if alarms:
            names = sorted({str(getattr(alarm, "detector", "detector")) for alarm in alarms})
            rung = len({getattr(alarm, "index", place) for place, alarm in enumerate(alarms)})
            log.warning("alarm of %s: %d of %d images of %s", ", ".join(names), rung, len(images), account)
        if alarms and self.options.on_alarm == "refuse":
            raise RefusedError(429, "too many similar queries; ask the operator")

    def close(self) -> None:
        """Answer what was taken, and end the threads."""
        self.batcher.close()
        self.helpers.shutdown()
        self.watcher.shutdown()
