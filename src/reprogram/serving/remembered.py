"""What detectors remember of accounts outlasts the server: it is read at the start, and written as it runs."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from reprogram.detectors._detect import continued, take_threshold
from reprogram.errors import ReprogramError
from reprogram.serving.detection import Watch
from reprogram.utils.files import require_writable, user_path
from reprogram.utils.lock import locked

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0
"""What a killed server forgets is at most the queries of so many seconds."""


@contextlib.contextmanager
def remembered(watch: Watch, folder: str | Path, *, every_s: float = SAVE_EVERY_S) -> Iterator[Watch]:
    """In the block, detectors go on from a folder's files, which are renewed while it runs and at its end.

    Args:
        watch: the detectors; each has a file by its name there.
        folder: is made if it isn't there. One server at a time works in it.
        every_s: seconds between two renewals.

    Yields:
        The same watch.

    Raises:
        ConfigError: a file holds another detector, or one with other options.
        DataError: a file is damaged, or the folder can't be written.
        FolderInUseError: another server works there.
    """
    folder = user_path(folder)
    require_writable(folder, "folder")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", "folder"):
        for place, detector in enumerate(watch.detectors):
            path = folder / f"{detector.name()}.safetensors"
            known = continued(detector, path)
            take_threshold(known, detector, path)
            watch.detectors[place] = known
        _save(watch, folder)
        ended = threading.Event()
        saver = threading.Thread(target=_save_until, args=(watch, folder, ended, every_s), daemon=True)
        saver.start()
        try:
            yield watch
        finally:
            ended.set()
            saver.join()
            _save(watch, folder)


def _save(watch: Watch, folder: Path) -> None:
    """Write all detectors' files; each is whole or as before."""
    for detector in watch.detectors:
        detector.save(folder / f"{detector.name()}.safetensors")


def _save_until(watch: Watch, folder: Path, ended: threading.Event, every_s: float) -> None:
    """Write them again and again; a full disk is told to the log, and the server goes on."""
    while not ended.wait(every_s):
        try:
            _save(watch, folder)
        except ReprogramError as error:
            log.warning("what detectors remember can't be written: %s", error)
