"""Results that depend on the frame alone, computed once and used for every batch with the same frame.

Without gradients, all that a host computes outside the windows depends on the frame alone. A `FrameCache` keeps these
results in the order of the calls that ask for them. It has no keys: a run with a complete cache makes the same calls in
the same order as the run that filled it, and the n-th call gets the n-th result.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from reprogram.framed import Framed
from reprogram.utils.tensor_cache import same

_thread = threading.local()


class FrameCache:
    """The results of one frame, for windows at one position.

    Args:
        value: the host's normalised input.

    Attributes:
        source: the frame's tensor, by which it is recognised without reading its numbers.
        version: the number of writes into that tensor when the cache was made; None where PyTorch doesn't count them.
        frame: a copy of its numbers.
        box: the window's position.
        results: the results in the order of the calls.
        complete: whether a run has filled it from beginning to end, so that it may be replayed.
    """

    def __init__(self, value: Framed) -> None:
        self.source = value.frame
        self.version = _version(value.frame)
        self.frame = value.frame.detach().clone()
        self.box = value.box
        self.results: list[Any] = []
        self.complete = False

    def fits(self, value: Framed) -> bool:
        """Whether it holds the results for an input.

        Args:
            value: the host's normalised input.

        Returns:
            True where the frame is the same tensor, not written into since, or equal number for number, and the window
            lies at the same position.
        """
        if not self.complete or self.box != value.box:
            return False
        if self.source is value.frame and self.version is not None and self.version == _version(value.frame):
            return True
        return same(self.frame, value.frame)


def _version(tensor: Tensor) -> int | None:
    """The number of writes into a tensor; None where PyTorch doesn't count them."""
    return None if tensor.is_inference() else tensor._version


CacheStore = WeakKeyDictionary[Any, FrameCache]
"""Frame caches by the executor that they belong to.

Each executor has a store of its own, with room for one frame. A caller with several frames has a store for each and
names it by `use_store`."""


def current_store() -> CacheStore | None:
    """The store that `use_store` names in this thread at the moment, or None."""
    store: CacheStore | None = getattr(_thread, "store", None)
    return store


@contextlib.contextmanager
def use_store(store: CacheStore) -> Iterator[None]:
    """Let executors in this thread keep their caches in another store than their own.

    Args:
        store: the caches of one frame, so that other frames don't replace them.
    """
    before = current_store()
    _thread.store = store
    try:
        yield
    finally:
        _thread.store = before


class _Cursor:
    """A frame cache in use, and the index of the next result in it."""

    def __init__(self, cache: FrameCache) -> None:
        self.cache, self.index = cache, 0


def cached(function: Callable[..., Any], *frames: Tensor) -> Any:
    """Compute what depends on the frame alone, or take it from the cache.

    Every rule passes what it does to a frame through here. While a cache is filled, the function gets copies of the
    frames, so that an operation that writes into its input leaves earlier results as they were.

    Args:
        function: takes the frames; it must not depend on the windows.
        frames: 1 × C × H × W each.

    Returns:
        The function's result.
    """
    cursor: _Cursor | None = getattr(_thread, "cursor", None)
    if cursor is None:
        return function(*frames)
    if cursor.cache.complete:
        result = cursor.cache.results[cursor.index]
        cursor.index += 1
        return result
    result = function(*(frame.clone() for frame in frames))
    cursor.cache.results.append(result)
    return result


def is_caching() -> bool:
    """Whether a cache is filled or replayed in this thread at the moment."""
    return getattr(_thread, "cursor", None) is not None


@contextlib.contextmanager
def use_cache(cache: FrameCache) -> Iterator[None]:
    """Let `cached` fill a new cache, or replay a complete one from its first result.

    Args:
        cache: of the frame that runs within this context.
    """
    before = getattr(_thread, "cursor", None)
    _thread.cursor = _Cursor(cache)
    try:
        yield
    finally:
        _thread.cursor = before
