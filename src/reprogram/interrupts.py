"""Signals that wait until a step is done."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def held_signals(active: bool) -> Iterator[list[int]]:
    """Hold SIGINT and SIGTERM back until the step is done; a second one of the same kind acts at once."""
    pending: list[int] = []
    if not active or threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hold(number: int, _: Any) -> None:
        pending.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    for number in before:
        signal.signal(number, hold)
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
