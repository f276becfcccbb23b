"""The temporary folder of a sweep, and those that killed sweeps have left."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from reprogram.errors import ReprogramError
from reprogram.utils import lock

PREFIX = "reprogram-sweep-"
LOCK = "lock"
YOUNG_S = 60.0
"""The age below which a folder is left alone: its sweep may not hold its lock yet."""


class ScratchFolder:
    """A temporary folder whose lock this process holds until it removes the folder, or ends.

    Before, the folders are removed whose process was killed: this user's, with a lock that nobody holds.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        remove_abandoned(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        self._held = contextlib.ExitStack()
        with contextlib.suppress(ReprogramError):  # Without a lock the folder is only never taken for an abandoned one.
            self._held.enter_context(lock.locked(self.path / LOCK))

    def cleanup(self) -> None:
        """Remove the folder."""
        self._held.close()
        self._folder.cleanup()


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of sweeps that were killed.

    Args:
        parent: the folder of temporary files.
    """
    if lock.flock is None:  # Nothing tells on this system whether a sweep is still there.
        return
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            is_old = time.time() - status.st_mtime > YOUNG_S
            if is_own and is_old and (folder / LOCK).is_file() and lock.owner(folder / LOCK) is None:
                shutil.rmtree(folder, ignore_errors=True)
