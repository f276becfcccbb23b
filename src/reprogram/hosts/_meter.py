"""The meter of a host: what it was asked for, what of that was lost, and the limits that stop it before it is asked."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol

from reprogram.errors import BudgetError

Outcome = Literal["answered", "refused", "lost", "unsent"]
"""What became of a request: a whole answer with scores; a whole answer without, such as status 429; neither; or there
was nobody to send it to, and it counts as no request."""


class Ledger(Protocol):
    """Keeps a meter's requests where a killed process can't lose them."""

    def sending(self, images: int, *, retry: bool) -> int:
        """Note a request before it is sent; until more is noted it counts as lost.

        Args:
            images: in the request.
            retry: whether it repeats another one.

        Returns:
            The number by which `settle` knows the request.
        """
        raise NotImplementedError

    def settle(self, requests: list[int], outcome: Outcome) -> None:
        """Note what became of requests.

        Args:
            requests: their numbers.
            outcome: of all of them.
        """
        raise NotImplementedError


class Sent:
    """A request that is under way; lost, unless the client says otherwise.

    Args:
        images: in the request.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.outcome: Outcome = "lost"

    def answered(self) -> None:
        """Say that the answer came whole: its images are counted."""
        self.outcome = "answered"

    def refused(self) -> None:
        """Say that the host refused, by a whole answer without scores: nobody bills it."""
        self.outcome = "refused"

    def unsent(self) -> None:
        """Say that nothing reached the host: the request isn't counted."""
        self.outcome = "unsent"


@dataclass
class Meter:
    """The bill of a host, one for all threads that ask it.

    Attributes:
        calls: of the host that were answered.
        images: that were answered.
        lost: images of requests without a whole answer (a time-out, a reset, a truncated answer, a killed process); a
            service may bill them.
        requests: that were sent, retries included. Each call of a local host is one.
        retries: requests that repeated another one.
        seconds: of waiting for the host, where it only answers; several requests at once count once.
        price: of 1,000 images, as the user states it; None where nobody did.
        limit: the most images, answered, lost and under way; None for no limit.
        request_limit: the most requests; None for no limit.
        cost_limit: the most money, in the price's unit; None for no limit. It has no effect without a price.
        total_limit: the most images as `limit` counts them, of a whole run; None for no limit. Nobody lifts it.
    """

    calls: int = 0
    images: int = 0
    lost: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    price: float | None = None
    limit: int | None = None
    request_limit: int | None = None
    cost_limit: float | None = None
    total_limit: int | None = None

    def __post_init__(self) -> None:
        self.watcher: Callable[[], None] | None = None  # Called after each count, where a run sets it for a while.
        self.ledger: Ledger | None = None
        self.in_flight = 0
        self._lock = threading.RLock()
        self._thread = threading.local()
        self._since: float | None = None

    @property
    def billed(self) -> int:
        """The images that a service may bill: those that were answered, and those that were lost."""
        return self.images + self.lost

    @property
    def cost(self) -> float | None:
        """The price of all images that may be billed; None without a price."""
        # price · (images + lost) / 1000
        return None if self.price is None else self.price * self.billed / 1000

    def bill(self) -> dict[str, int | float | None]:
        """The bill as JSON values: images, lost, requests, retries, seconds, price and cost."""
        counts = {name: getattr(self, name) for name in ("images", "lost", "requests", "retries")}
        return {**counts, "seconds": round(self.waited, 3), "price": self.price, "cost": self.cost}

    def count(self, images: int) -> None:
        """Count a call of a local host, before it is asked.

        Args:
            images: in this call.

        Raises:
            BudgetError: a limit would be exceeded; nothing is counted and nothing may be asked.
        """
        with self._lock:
            self._check(images)
            number = None if self.ledger is None else self.ledger.sending(images, retry=False)
            self.requests += 1
            self._count("answered", images, number)
        self._tell()

    @contextlib.contextmanager
    def request(self, images: int, *, retry: bool = False) -> Iterator[Sent]:
        """Count a request, which is sent in the block; several threads may do so at once.

        The block says `answered()`, `refused()` or `unsent()` of what it gets. Without any of them, or with an error
        before, the images are lost.

        Args:
            images: in the request.
            retry: whether it repeats another one.

        Raises:
            BudgetError: a limit would be exceeded; nothing is counted and nothing may be sent.
        """
        with self._lock:
            self._check(images)
            number = None if self.ledger is None else self.ledger.sending(images, retry=retry)
            self.requests += 1
            self.retries += retry
            self.in_flight += images
        sent = Sent(images)
        try:
            yield sent
        finally:
            with self._lock:
                self.in_flight -= images
                if sent.outcome == "unsent":
                    self.requests, self.retries = self.requests - 1, self.retries - retry
                self._count(sent.outcome, images, number)
            self._tell()

    @contextlib.contextmanager
    def batch(self) -> Iterator[list[int]]:
        """A block in which this thread's answered requests aren't settled in the ledger: the block does that.

        So that the answers themselves can be noted with them, at once. Where an error ends the block, they are lost.

        Yields:
            The requests' numbers, which grow as they are answered.
        """
        self._thread.batch = batch = _Batch()
        try:
            yield batch.numbers
        except BaseException:
            with self._lock:
                self.calls, self.images = self.calls - batch.calls, self.images - batch.images
                self.lost += batch.images
                if self.ledger is not None:
                    self.ledger.settle(batch.numbers, "lost")
            raise
        finally:
            self._thread.batch = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """In the block, the seconds of waiting for the host go on; one thread at a time."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self.seconds, self._since = self.waited, None

    @property
    def waited(self) -> float:
        """The seconds of waiting for the host until now."""
        return self.seconds + (0.0 if self._since is None else time.monotonic() - self._since)

    def affordable(self) -> int | None:
        """The images that the limits of images and of money allow in all; None without such a limit."""
        limits = [] if self.limit is None else [self.limit]
        if self.cost_limit is not None and self.price:
            limits.append(images_for(self.cost_limit, self.price))
        return min(limits, default=None)

    def _check(self, images: int) -> None:
        under_way = self.billed + self.in_flight
        spent = f"{self.images:,} are spent"
        spent += f", {self.lost:,} lost" if self.lost else ""
        spent += f", {self.in_flight:,} under way" if self.in_flight else ""
        for limit in (self.limit, self.total_limit):
            if limit is not None and under_way + images > limit:
                raise BudgetError(
                    f"the host may be asked for {limit:,} images at the most; {spent}, and {images:,} more are wanted"
                )
        if self.request_limit is not None and self.requests + 1 > self.request_limit:
            raise BudgetError(
                f"the host may be sent {self.request_limit:,} requests at the most; {self.requests:,} are spent"
            )
        affordable = self.affordable()
        if affordable is not None and under_way + images > affordable:
            raise BudgetError(
                f"the host may cost {self.cost_limit:g} at the most, {affordable:,} images at {self.price:g} a "
                f"thousand; {spent}, and {images:,} more are wanted"
            )

    def _count(self, outcome: Outcome, images: int, number: int | None) -> None:
        if outcome == "answered":
            self.calls += 1
            self.images += images
        elif outcome == "lost":
            self.lost += images
        batch: _Batch | None = getattr(self._thread, "batch", None)
        if outcome == "answered" and batch is not None:
            batch.calls, batch.images = batch.calls + 1, batch.images + images
            batch.numbers += [] if number is None else [number]
        elif number is not None and self.ledger is not None:
            self.ledger.settle([number], outcome)

    def _tell(self) -> None:
        if self.watcher is not None:
            self.watcher()

    def __getstate__(self) -> dict[str, Any]:
        """The counts and limits alone: a copy has its own lock, and no ledger."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class _Batch:
    """The answered requests of a thread that aren't settled yet."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.calls = self.images = 0


def images_for(cost: float, price: float) -> int:
    """The images that an amount of money buys, rounded down; of the numbers as they are written in decimals.

    Args:
        cost: the amount.
        price: of 1,000 images, positive, in the same unit.
    """
    return int(Decimal(str(cost)) * 1000 // Decimal(str(price)))
