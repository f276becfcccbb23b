"""When files and folders were last changed, and what files hold."""

import hashlib
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from reprogram.errors import DataError


def last_change(paths: Iterable[Path]) -> float:
    """When files, or anything in folders, were last changed, in seconds since the epoch; links are followed.

    A file may be given an older date, as `cp -p` and `mv` do; the time of the change of its status tells of that.

    Args:
        paths: of the files and folders.

    Returns:
        0 without paths; infinity where something isn't there, or can't be looked at.
    """
    latest, seen = 0.0, set()
    entries: list[Path | os.DirEntry[str]] = [*paths]
    try:
        while entries:
            entry = entries.pop()
            status = entry.stat(follow_symlinks=False)
            latest = max(latest, status.st_mtime, status.st_ctime)
            if stat.S_ISLNK(status.st_mode):
                status = entry.stat()
                latest = max(latest, status.st_mtime, status.st_ctime)
            folder = os.path.realpath(entry) if stat.S_ISDIR(status.st_mode) else ""
            if folder and folder not in seen:  # Links may form circles.
                seen.add(folder)
                with os.scandir(entry) as listed:
                    entries += listed
    except OSError:
        return math.inf
    return latest


def digest_of_files(paths: Iterable[Path]) -> str:
    """SHA-256 of what files hold, one after the other, in hexadecimal digits.

    Args:
        paths: of the files.

    Raises:
        DataError: one can't be read.
    """
    found = hashlib.sha256()
    for path in paths:
        try:
            found.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise DataError(f"{path}: can't be read ({error.strerror}); the run was learned with it") from None
    return found.hexdigest()
