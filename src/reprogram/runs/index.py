"""The runs of a folder, in one SQLite database: an index that is made from the files of the runs, and can be made anew.

Each answer is compared with the files first (their times and sizes), so it is right even where the index is missing,
damaged or old. The index holds nothing that the files don't.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from reprogram.errors import BudgetError, ConfigError, DataError, ProcessLostError, WriteError
from reprogram.runs.config import MARK, RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.record import Record, describe, read_part
from reprogram.utils.files import exists, is_folder
from reprogram.utils.messages import nearest

NAME = "runs.sqlite"
VERSION = 4
"""Of the records: a row of a version that didn't know all of today's fields is made anew."""
PATIENCE_S = 2.0
"""How long a run or a reader waits for another process that writes the index, before it goes on without the index."""
TABLE = (
    "reprogram_runs (name TEXT PRIMARY KEY, state TEXT NOT NULL, record TEXT NOT NULL, seal TEXT NOT NULL)"
    " WITHOUT ROWID"
)
FOREIGN = "SELECT count(*) FROM sqlite_master WHERE tbl_name NOT LIKE 'reprogram_runs' AND tbl_name NOT LIKE 'sqlite_%'"
"""How much is in the file that isn't the index."""
SELECT = "SELECT name, record, seal FROM reprogram_runs"
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR)
"""SQLite's codes where another process writes the index, or, the last one, removes a damaged one."""

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR)
"""SQLite's codes where the index has to be made anew."""

TROUBLE = (sqlite3.Error, OSError, DataError, UnicodeError)
"""The errors that can keep an index from being written."""

INTERRUPTIONS = (KeyboardInterrupt, SystemExit, WriteError, ProcessLostError)
"""The errors that end a run which the same command resumes."""

T = TypeVar("T")


class RunIndex:
    """The index of the runs in one folder.

    Args:
        folder: the folder that holds the runs' folders, and the database `runs.sqlite`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME

    def runs(self) -> list[Record]:
        """The records of all runs, in the order of their names; old rows of the index are renewed where possible.

        Raises:
            DataError: there is no such folder.
        """
        names = self.names()
        if not names and not exists(self.path):
            return []
        indexed: dict[str, tuple[str, str]] = {}
        with contextlib.suppress(*TROUBLE):
            indexed = self._do(lambda db: {key: (record, seal) for key, record, seal in db.execute(SELECT)})
        records, stale = [], []
        for name in names:
            text, seal = indexed.pop(_key(name), ("", ""))
            folder = RunFolder(self.folder / name)
            record = json.loads(text) if seal == _seal(folder, text) else None
            if record is None or record["state"] == "running":  # A killed process changes no file.
                before, record = record, describe(folder)
                stale += [name] if record != before else []
            records.append(record)
        if stale or indexed:
            with contextlib.suppress(*TROUBLE):
                self._do(lambda db: self._put(db, [*stale, *indexed]))
        return records

    def run(self, name: str) -> Record:
        """The record of one run.

        Args:
            name: the name of the run's folder.

        Raises:
            ConfigError: there is no run of that name; names the nearest.
        """
        if not self.holds(name):
            raise ConfigError(f"{self.folder}: no run {name!r}; {nearest(name, self.names())}")
        return describe(RunFolder(self.folder / name))

    def update(self, name: str) -> None:
        """Renew the index's row of one run; where there is no index, make it anew.

        Args:
            name: the name of the run's folder.

        Raises:
            TROUBLE: the index can't be written.
        """
        self._do(lambda db: self._put(db, [name]))

    def rebuild(self) -> int:
        """Make the index anew from the files.

        Returns:
            The number of runs.

        Raises:
            DataError: there is no such folder, or the index can't be written.
        """
        names = self.names()
        try:
            self._discard()
            self._do(lambda db: None)
        except TROUBLE as error:
            raise DataError(f"{self.path}: can't be written ({error}); free some space, or make it writable") from None
        return len(names)

    def remove(self, name: str) -> list[str]:
        """Remove a run: its files, and its folder where nothing else is in it.

        Args:
            name: the name of the run's folder.

        Returns:
            The names of the other files in the folder, which stay.

        Raises:
            ConfigError: there is no run of that name, or a process works in its folder.
            DataError: a file can't be removed.
        """
        if not self.holds(name):
            raise ConfigError(f"{self.folder}: no run {name!r}; {nearest(name, self.names())}")
        other_files = RunFolder(self.folder / name).remove()
        with contextlib.suppress(*TROUBLE):
            self.update(name)
        return other_files

    def names(self) -> list[str]:
        """The names of the runs, sorted.

        Raises:
            DataError: the folder isn't there, or can't be read.
        """
        try:
            return sorted(entry.name for entry in os.scandir(self.folder) if self.holds(entry.name))
        except OSError as error:
            raise DataError(f"{self.folder}: no folder with runs ({error.strerror}); give another --runs") from None

    def holds(self, name: str) -> bool:
        """Whether the folder directly holds a run's folder of that name, which is no link and has a configuration.

        Args:
            name: the name, which a person may have typed.
        """
        path = self.folder / name
        if name in ("", ".", "..") or path.name != name or not is_folder(path) or path.is_symlink():
            return False
        return read_part(path / "config.toml", len(MARK)) == MARK.encode()

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function with the open index; wait for other processes, and make a missing or damaged index anew."""
        end, discarded = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                with contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as db:
                    db.text_factory = lambda value: value.decode(errors="replace")
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("PRAGMA synchronous = OFF")  # After a power cut the index is made anew.
                    with db:
                        self._require_table(db)
                        return action(db)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                # An error without a code: names that aren't text, or other columns than ours.
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
                if code in DAMAGED and not discarded:
                    self._discard()
                    discarded = True
                elif code not in BUSY or time.monotonic() > end:
                    raise
                else:
                    time.sleep(0.01)

    def _require_table(self, db: sqlite3.Connection) -> None:
        """Make the table where it is missing; refuse one with other columns."""
        row = db.execute("SELECT sql FROM sqlite_master WHERE name = 'reprogram_runs'").fetchone()
        if row is None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"CREATE TABLE IF NOT EXISTS {TABLE}")
            self._put(db, self.names())
        elif row[0] != f"CREATE TABLE {TABLE}":
            raise sqlite3.DatabaseError("the table has other columns")

    def _put(self, db: sqlite3.Connection, names: list[str]) -> None:
        """Write the rows of these runs from their files, in one transaction, so that no older row overwrites them."""
        if not db.in_transaction:
            db.execute("BEGIN IMMEDIATE")
        for name in names:
            if not self.holds(name):
                db.execute("DELETE FROM reprogram_runs WHERE name = ?", (_key(name),))
                continue
            folder = RunFolder(self.folder / name)
            stamp, record = _stamp(folder), describe(folder)
            text = json.dumps(record)
            row = (_key(name), record["state"], text, _seal(folder, text, stamp))
            db.execute("INSERT OR REPLACE INTO reprogram_runs VALUES (?, ?, ?, ?)", row)

    def _discard(self) -> None:
        """Remove the index: the file, or the table alone where somebody's other tables are in the file too."""
        others = 0
        with contextlib.suppress(*TROUBLE), contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as db:
            others = db.execute(FOREIGN).fetchone()[0]
        if others:
            with contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as db, db:
                db.execute("DROP TABLE IF EXISTS reprogram_runs")
            return
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(NAME + ending).unlink(missing_ok=True)


@contextlib.contextmanager
def recorded(folder: RunFolder, config: RunConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Note a run's beginning, end and failure in its folder and in the index.

    A run that is refused before it has learned anything leaves nothing behind.

    Args:
        folder: the run's folder, owned by this process.
        config: the run's configuration.
        say: called with a warning, once, where the index can't be written.

    Raises:
        WriteError: the folder can't be written.
    """
    path = folder.path.resolve()
    index, writable = RunIndex(path.parent), True

    def note() -> None:
        nonlocal writable
        try:
            if writable:
                index.update(path.name)
        except TROUBLE as error:
            writable = False
            say(f"warning: {index.path}: can't be written ({error}); the run itself isn't touched by that")

    folder.begin(config)
    note()
    try:
        yield
    except BaseException as error:
        if isinstance(error, ConfigError | BudgetError) and folder.forget():
            raise
        with contextlib.suppress(DataError):
            folder.end("" if isinstance(error, INTERRUPTIONS) else f"{type(error).__name__}: {error}")
        raise
    finally:
        note()


def _stamp(folder: RunFolder) -> str:
    """A text that changes with the files that a record is made from: their inodes, sizes and times."""
    parts = []
    for path in (folder.config, folder.times, folder.history, folder.result):
        try:
            status = path.stat()
            parts.append(f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}")
        except OSError:
            parts.append("-")
    return " ".join(parts)


def _seal(folder: RunFolder, record: str, stamp: str = "") -> str:
    """A digest of a record and of the files that it is made from, by which an old or damaged record is noticed."""
    parts = (VERSION, folder.path.name, stamp or _stamp(folder), record)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(name: str) -> str:
    """A folder's name as text that SQLite takes, where its bytes may not be valid."""
    return name.encode(errors="backslashreplace").decode()
