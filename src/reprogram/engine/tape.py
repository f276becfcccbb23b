"""What a fixed program makes of the frame, computed once.

Without gradients, all that a host computes outside the windows depends on the frame alone. A `Tape` keeps these results
in the order in which they are needed; while the frame stays the same, every further batch costs its windows.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from reprogram.framed import Framed
from reprogram.unchanged import same

_thread = threading.local()


class Tape:
    """The results of one frame.

    Args:
        value: the host's normalised input.
    """

    def __init__(self, value: Framed) -> None:
        self.source = value.frame
        self.version = _version(value.frame)
        self.frame = value.frame.detach().clone()
        self.box = value.box
        self.results: list[Any] = []
        self.complete = False

    def fits(self, value: Framed) -> bool:
        """Whether it holds the results of this input."""
        if not self.complete or self.box != value.box:
            return False
        if self.source is value.frame and self.version is not None and self.version == _version(value.frame):
            return True
        return same(self.frame, value.frame)


def _version(tensor: Tensor) -> int | None:
    """How often it was written into, where it counts that."""
    return None if tensor.is_inference() else tensor._version


Shelf = WeakKeyDictionary[Any, Tape]
"""Keeps tapes by the executor that they belong to. Each executor has one; who owns several frames has one for each."""


def shelf() -> Shelf | None:
    """What `kept_on` names just now."""
    found: Shelf | None = getattr(_thread, "shelf", None)
    return found


@contextlib.contextmanager
def kept_on(own: Shelf) -> Iterator[None]:
    """Let executors keep their tapes here, not with themselves, so that other frames don't take their place."""
    before = shelf()
    _thread.shelf = own
    try:
        yield
    finally:
        _thread.shelf = before


class _Running:
    """A tape and the place on it."""

    def __init__(self, tape: Tape) -> None:
        self.tape, self.place = tape, 0


def once(function: Callable[..., Any], *frames: Tensor) -> Any:
    """Compute what depends on the frame alone, or take it from the tape.

    Every rule passes what it does to a frame through here. Recorded operations get copies, so that one that writes into
    its input leaves earlier results as they were.
    """
    running: _Running | None = getattr(_thread, "running", None)
    if running is None:
        return function(*frames)
    if running.tape.complete:
        result = running.tape.results[running.place]
        running.place += 1
        return result
    result = function(*(frame.clone() for frame in frames))
    running.tape.results.append(result)
    return result


def playing() -> bool:
    """Whether a tape is recorded or read just now."""
    return getattr(_thread, "running", None) is not None


@contextlib.contextmanager
def running(tape: Tape) -> Iterator[None]:
    """Record on an empty tape, or read a complete one."""
    before = getattr(_thread, "running", None)
    _thread.running = _Running(tape)
    try:
        yield
    finally:
        _thread.running = before
