"""The lock of a folder, held by the process that works in it: one of the system's (flock), which ends with the process.

The lock's file names process and machine, for messages alone. A process id that is used again, or one of another
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
from reprogram.utils.text import printable

PATIENCE_S = 0.2
"""How long a held lock is tried again: a process that only asks for the owner holds it for a moment."""

flock: ModuleType | None
try:
    import fcntl as flock
except ImportError:  # This system has no flock: no process is refused.
    flock = None


@contextlib.contextmanager
def locked(path: Path, option: str = "--out") -> Iterator[None]:
    """Hold a lock in the block.

    Args:
        path: the lock's file; it is removed afterwards.
        option: that its folder was named by, for messages.

    Raises:
        FolderInUseError: another process holds the lock; names its id.
        DataError: the file can't be written or locked.
    """
    handle = _acquire(path, option)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def owner(path: Path) -> str | None:
    """The process that holds a lock, as "PID on MACHINE"; None where no process does.

    Args:
        path: the lock's file.
    """
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


def refuse_owned(path: Path, option: str = "--out") -> None:
    """Refuse early where `locked` would refuse later; this needs no import that takes long.

    Args:
        path: the lock's file.
        option: that its folder was named by, for the message.

    Raises:
        FolderInUseError: another process holds the lock; names its id.
    """
    if (process := owner(path)) is not None:
        raise FolderInUseError(
            f"{path.parent}: process {process} works in this folder; wait for it, or choose another {option}"
        )


def _acquire(path: Path, option: str) -> int:
    """Take a lock, and return the open file that holds it."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise DataError(f"{path}: can't be written ({error.strerror}); choose another {option}") from None
        try:
            if flock is not None:
                flock.flock(handle, flock.LOCK_EX | flock.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                with contextlib.suppress(OSError):  # On a full disk, the next write raises a better error.
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()} on {platform.node()}".encode())
                return handle
            os.close(handle)  # The former owner has removed the file meanwhile: try again.
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() > end:
                refuse_owned(path, option)
            time.sleep(0.01)
        except OSError as error:
            os.close(handle)
            raise DataError(f"{path}: can't be locked ({error.strerror}); choose another {option}") from None
