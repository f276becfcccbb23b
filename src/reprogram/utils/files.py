"""Files that are either whole or not there."""

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from reprogram.errors import WriteError

SCARCE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""The system's errors that no program can prevent, whatever file they are of."""

_writing = threading.Lock()


def write_atomic(path: Path, content: bytes, *, keep: Path | None = None) -> Path:
    """Write a file so that a crash at any moment, of the process or the machine, leaves the old one or the new one.

    Args:
        path: the file to write; its folder is made where it is missing.
        content: the file's bytes.
        keep: where the old file goes, once the new one is whole on the disk.

    Returns:
        The path.

    Raises:
        WriteError: the file can't be written; the old file is unchanged, and no temporary file stays behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _writing:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(temporary, content)
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise WriteError(
                f"{path}: can't be written ({error.strerror or error}); choose another place or free some space"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


def exists(path: str | Path) -> bool:
    """Whether there is a file or a folder; a path that can't be looked at counts as missing, where Path.exists raises.

    Args:
        path: any path, also one that is too long, goes round in a circle, or lies behind a folder that isn't open.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; a path that can't be looked at is none, where Path.is_dir raises.

    Args:
        path: any path.
    """
    return os.path.isdir(path)  # noqa: PTH112


def refused_by_the_system(error: BaseException) -> str | None:
    """A line about a file that the system refused to open, to read or to write; None for every other error.

    Args:
        error: any error; a bug's has neither a file's name nor a reason that lies outside of the program.
    """
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in SCARCE):
        return None
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = " and ".join(names) or "a file"
    return f"{where}: can't be used ({error.strerror or error}); give another place, or make it accessible"


@contextlib.contextmanager
def no_file_half_written(timeout_s: float) -> Iterator[None]:
    """Run the block while no thread is in the middle of `write_atomic`.

    Args:
        timeout_s: how long to wait for such a thread, in seconds; then the block runs all the same.
    """
    acquired = _writing.acquire(timeout=timeout_s)
    try:
        yield
    finally:
        if acquired:
            _writing.release()


def remove_strays(folder: Path) -> None:
    """Remove the temporary files that killed processes left behind.

    Args:
        folder: a folder that no other process writes to.
    """
    for stray in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            stray.unlink()


def _write_whole(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Some file systems can't sync a folder.
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
