"""SIGINT, SIGTERM and SIGHUP, which wait until a step is done, but not for long."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from reprogram.utils.files import no_file_half_written

GRACE_S = 1.4
"""How long a step may go on after a signal. A longer step is given up; the state that was saved before it stays."""

ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""The signals that end a run; the last is that of a terminal which was closed."""


@contextlib.contextmanager
def held_signals(active: bool) -> Iterator[list[int]]:
    """Hold the ending signals back until the step is done; a second one of the same kind acts at once.

    A signal that is ignored stays so, as SIGHUP is under nohup.

    A step that goes on for more than `GRACE_S` seconds ends with the process, by a thread that waits for the signal
    beside it: Python's own handlers can't run while a long operation of torch does.

    Args:
        active: whether to hold signals at all; outside the main thread none are held.

    Yields:
        The signals that arrived so far, a list that grows.
    """
    pending: list[int] = []
    if not active or threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in ENDING}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def hold(number: int, _: Any) -> None:
        pending.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    for ending in before:
        signal.signal(ending, hold)
    try:
        with answered_signals():
            yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if pending:  # It came when the block had looked for the last time; what ends by a signal doesn't get here.
        signal.raise_signal(pending[0])


@contextlib.contextmanager
def answered_signals() -> Iterator[None]:
    """Run a block, and end the process where the block goes on for more than `GRACE_S` seconds after a signal.

    A Python handler of the signal has to be what usually ends the block. Without effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(read_end, done), name="signal watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        os.close(write_end)
        watcher.join()
        os.close(read_end)


def _watch(read_end: int, done: threading.Event) -> None:
    """Read the signals' numbers, and end the process where the block isn't done in time after one."""
    while number := os.read(read_end, 1):  # Empty when the other end is closed.
        if number[0] in ENDING and not done.wait(GRACE_S):
            with no_file_half_written(GRACE_S):
                with contextlib.suppress(OSError):
                    print(
                        "reprogram: stopped in the middle; the same command goes on from what was saved before",
                        file=sys.stderr,
                    )
                os._exit(128 + number[0])
