"""Files that are either whole or not there."""

import contextlib
import errno
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError, DataError, WriteError
from reprogram.utils.text import is_unicode, printable

SCARCE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""The system's errors that no program can prevent, whatever file they are of."""

MAX_READ = 2**28
"""The most bytes of a file that is read whole."""

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
        WriteError: the file can't be written, or what is there is a folder, a device or a pipe; what was there is
            unchanged, and no temporary file stays behind.
    """
    _require_replaceable(path)
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


def publish(files: Sequence[Path], folder: Path) -> None:
    """Give whole files their place in a folder, each under its own name, as one: the last of them comes last.

    Args:
        files: ordinary files on the file system of the folder; files of these names in the folder are replaced.
        folder: where they go.

    Raises:
        WriteError: one can't be moved, or what is there is a folder, a device or a pipe.
    """
    for path in files:
        _require_replaceable(folder / path.name)
    with _writing:
        try:
            for path in files:
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            for path in files:
                path.replace(folder / path.name)
            _sync_folder(folder)
        except OSError as error:
            raise WriteError(
                f"{folder / files[-1].name}: can't be written ({error.strerror or error}); choose another place"
            ) from error


def read_ordinary(path: Path, most: int = MAX_READ) -> bytes:
    """The bytes of an ordinary file; a pipe isn't waited for, and a device isn't read.

    Args:
        path: the file, or a link to it.
        most: the most bytes that are read.

    Raises:
        OSError: it can't be read, is no ordinary file, or is larger.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no ordinary file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
        return file.read(most)


def read_json(path: Path, most: int = MAX_READ) -> Any:
    """The JSON in an ordinary file.

    Args:
        path: the file.
        most: the most bytes that are read.

    Raises:
        OSError: as `read_ordinary`.
        ValueError: it is no JSON in UTF-8, or nested too deeply.
    """
    try:
        return json.loads(read_ordinary(path, most).decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def user_path(value: Any, what: str = "path") -> Path:
    """A path as people give it: text, bytes or a path-like object; `~` at its beginning is the home folder.

    Args:
        value: the path.
        what: the argument's name, for the message.

    Raises:
        ConfigError: the value is no path, is empty, or holds a character 0.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise ConfigError(f"{what}={value!r}: is no path; give text, bytes or a pathlib.Path")
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise ConfigError(f"{what}={text!r}: is no path ({'it holds a character 0' if text else 'it is empty'})")
    return Path(home(text))


def home(value: Any) -> Any:
    """A text in which `~` at the beginning is replaced by the home folder; any other value as it is.

    Args:
        value: any value.
    """
    is_home = isinstance(value, str) and value.startswith("~")
    return os.path.expanduser(value) if is_home else value  # noqa: PTH111 - Path's raises where there is no home.


def why_missing(path: str | Path, what: str = "file") -> str:
    """Why nothing is found at a path, as a phrase: it isn't there, or the system doesn't let it be looked at.

    Args:
        path: the path.
        what: what was looked for.
    """
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return f"no such {what}"
    except (OSError, ValueError) as error:  # A closed folder, links in a circle, too long; a character 0.
        return f"can't be looked at ({getattr(error, 'strerror', None) or error})"
    return f"is no {what}"


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


def _require_replaceable(path: Path) -> None:
    """Refuse what a new file must not take the place of: a folder, a device, a pipe, or a link to a process's stream.

    The superuser could replace /dev/null.
    """
    try:
        is_ordinary = stat.S_ISREG(path.stat().st_mode)
        if is_ordinary and not (path.is_symlink() and str(path.readlink()).startswith("/proc/")):
            return
    except (OSError, ValueError):  # Nothing is there; what else is wrong shows in writing.
        return
    raise WriteError(f"{path}: is no ordinary file, and stays as it is; choose another name")


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


def require_writable(folder: Path, option: str = "--out") -> None:
    """Refuse a folder that isn't there and can't be made, or that can't be written or named in a file.

    Args:
        folder: the folder.
        option: that it was named by, for the message.

    Raises:
        DataError: the folder or the nearest folder above it that exists is a file, or may not be written; or the path
            can't be looked at, or holds bytes that aren't UTF-8.
    """
    if not is_unicode(str(folder)):
        raise DataError(f"{printable(folder)}: holds bytes that aren't UTF-8; choose another {option}")
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()
    except (OSError, ValueError) as error:  # Too long, links in a circle, behind a closed folder; a character 0.
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{folder}: can't be used ({reason}); choose another {option}") from None
    existing = next(path for path in (folder, *folder.absolute().parents, Path("/")) if exists(path))
    if not is_folder(existing):
        raise DataError(f"{existing}: is a file, and no folder; choose another {option}")
    if not os.access(existing, os.W_OK):
        what = "may not be written" if existing == folder else f"can't be made in {existing}, which may not be written"
        raise DataError(f"{folder}: {what}; choose another {option}")
