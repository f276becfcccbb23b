"""Threads that ask at once, and do what depends on the order of the images one after another."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets threads take turns by the numbers of what they do, and none begin after one has failed.

    Args:
        ordered: whether a turn waits for all with lower numbers; if not, it comes at once.
    """

    def __init__(self, *, ordered: bool) -> None:
        self.ordered = ordered
        self._done: set[int] = set()
        self._next = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    @contextmanager
    def working(self, number: int) -> Iterator[None]:
        """The block in which something is asked for; an error of it ends what hasn't begun, and waits for a turn.

        Args:
            number: from 0, each once.

        Raises:
            BaseException: the error of another block, before this one begins.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
        try:
            yield
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()
            raise

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """The block that comes after those of all lower numbers.

        Args:
            number: of the block of `working` that this one stands in.

        Raises:
            BaseException: the error of a block that this one waits for.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.ordered or self._next == number or self._error is not None)
            if self.ordered and self._next != number and self._error is not None:
                raise self._error
        yield
        with self._changed:
            self._done.add(number)
            while self._next in self._done:
                self._next += 1
            self._changed.notify_all()
