"""Who works in a folder: a lock of the system (flock), which ends with its process, however that ends.

What the file says (process and machine) is for messages alone. A process id that is used again, or one of another
machine, can't keep a folder locked.
"""

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from reprogram.errors import DataError, FolderInUseError
from reprogram.text import printable

PATIENCE_S = 0.2
"""How long a lock that is held is tried again: who only looks whether it is held, holds it for a moment."""

flock: ModuleType | None
try:
    import fcntl as flock
except ImportError:  # This system has none: nobody is refused.
    flock = None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock in this file, which is removed afterwards.

    Raises:
        FolderInUseError: another process holds it; names its id.
        DataError: the file can't be written or locked.
    """
    handle = _take(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def owner(path: Path) -> str | None:
    """Process and machine that hold the lock in this file; None if nobody does."""
    if flock is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        flock.flock(handle, flock.LOCK_SH | flock.LOCK_NB)
        return None
    except BlockingIOError:
        return printable(os.read(handle, 200).decode(errors="replace")) or "unknown"
    except OSError:
        return None
    finally:
        os.close(handle)


def refuse_owned(path: Path) -> None:
    """Be early where `locked` would refuse: it needs nothing that takes long to import.

    Raises:
        FolderInUseError: another process holds the lock in this file; names its id.
    """
    if (process := owner(path)) is not None:
        raise FolderInUseError(
            f"{path.parent}: process {process} works in this run folder; wait for it, or choose another --out"
        )


def _take(path: Path) -> int:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise DataError(f"{path}: can't be written ({error.strerror}); choose another --out") from None
        try:
            if flock is not None:
                flock.flock(handle, flock.LOCK_EX | flock.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                with contextlib.suppress(OSError):  # A full disk: what comes next says so.
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()} on {platform.node()}".encode())
                return handle
            os.close(handle)  # Its owner removed it in between.
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() > end:
                refuse_owned(path)
            time.sleep(0.01)
        except OSError as error:
            os.close(handle)
            raise DataError(f"{path}: can't be locked ({error.strerror}); choose another --out") from None
