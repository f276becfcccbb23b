"""When files and folders were last changed."""

import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path


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
