"""The runs of a folder, in one SQLite database: an index that is made from the files of the runs, and can be made anew.

Whatever is asked of it is compared with the files first (their times and sizes), so that it can be missing, damaged or
behind and the answer is right all the same. It never knows more than they do.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Any, TypeVar

from reprogram.errors import ConfigError, DataError, ProcessLostError, WriteError, nearest
from reprogram.lock import owner
from reprogram.runconfig import MARK, RunConfig
from reprogram.runfolder import RunFolder

NAME = "runs.sqlite"
PATIENCE_S = 2.0
"""How long a run or a reader waits for others that write the index, before it goes on without."""
MAX_BYTES = 2**24
TAIL_BYTES = 2**16
TABLE = (
    "reprogram_runs (name TEXT PRIMARY KEY, state TEXT NOT NULL, record TEXT NOT NULL, seal TEXT NOT NULL)"
    " WITHOUT ROWID"
)
SELECT = "SELECT name, record, seal FROM reprogram_runs"
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR)
TROUBLE = (sqlite3.Error, OSError, DataError, UnicodeError)
"""What can keep an index from being written."""
INTERRUPTIONS = (KeyboardInterrupt, SystemExit, WriteError, ProcessLostError)
"""What ends a run that the same command goes on with."""
T = TypeVar("T")
Record = dict[str, Any]


class RunStore:
    """The runs whose folders lie in one folder.

    Args:
        folder: that they lie in; the database is `runs.sqlite` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME

    def runs(self) -> list[Record]:
        """What is known of each run, by name; the index is brought to what the files say, where it can be written.

        Raises:
            DataError: there is no such folder.
        """
        names = self._names()
        if not names and not self.path.exists():
            return []
        indexed: dict[str, tuple[str, str]] = {}
        with contextlib.suppress(*TROUBLE):
            indexed = self._do(lambda db: {key: (record, seal) for key, record, seal in db.execute(SELECT)})
        records, stale = [], []
        for name in names:
            text, seal = indexed.pop(_key(name), ("", ""))
            folder = RunFolder(self.folder / name)
            record = json.loads(text) if seal == _seal(folder, text) else None
            if record is None or record["state"] == "running":  # That its process was killed changes no file.
                before, record = record, describe(folder)
                stale += [name] if record != before else []
            records.append(record)
        if stale or indexed:
            with contextlib.suppress(*TROUBLE):
                self._do(lambda db: self._put(db, [*stale, *indexed]))
        return records

    def run(self, name: str) -> Record:
        """What is known of one run.

        Raises:
            ConfigError: there is none of that name; names the nearest.
        """
        if not self.holds(name):
            raise ConfigError(f"{self.folder}: no run {name!r}; {nearest(name, self._names())}")
        return describe(RunFolder(self.folder / name))

    def update(self, name: str) -> None:
        """Bring the index to what the files of one run say; of all runs, where there was no index.

        Raises:
            TROUBLE: it can't be written.
        """
        self._do(lambda db: self._put(db, [name]))

    def rebuild(self) -> int:
        """Make the index anew from the files; how many runs there are.

        Raises:
            DataError: there is no such folder, or the index can't be written.
        """
        names = self._names()
        try:
            self._discard()
            self._do(lambda db: None)
        except TROUBLE as error:
            raise DataError(f"{self.path}: can't be written ({error}); free some space, or make it writable") from None
        return len(names)

    def remove(self, name: str) -> list[str]:
        """Remove a run: its own files, and its folder where nothing else is in it.

        Returns:
            What else is in it, which stays.

        Raises:
            ConfigError: there is none of that name, or a process works in it.
            DataError: something can't be removed.
        """
        if not self.holds(name):
            raise ConfigError(f"{self.folder}: no run {name!r}; {nearest(name, self._names())}")
        left = RunFolder(self.folder / name).remove()
        with contextlib.suppress(*TROUBLE):
            self.update(name)
        return left

    def _names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.folder) if self.holds(entry.name))
        except OSError as error:
            raise DataError(f"{self.folder}: no folder with runs ({error.strerror}); give another --runs") from None

    def holds(self, name: str) -> bool:
        """Whether a run's folder has that name: a real one, right here, with a run's configuration."""
        path = self.folder / name
        if name in ("", ".", "..") or path.name != name or path.is_symlink() or not path.is_dir():
            return False
        return _read(path / "config.toml", len(MARK)) == MARK.encode()

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the index: wait for others, and make it anew where it is missing or damaged."""
        end, discarded = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                with contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as db:
                    db.text_factory = lambda value: value.decode(errors="replace")
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("PRAGMA synchronous = OFF")  # After a power cut it is made anew.
                    with db:
                        self._require_table(db)
                        return action(db)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                # Without a code: damaged names that SQLite can't put into words, or other columns than ours.
                kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
                if kind in DAMAGED and not discarded:
                    self._discard()
                    discarded = True
                elif kind not in BUSY or time.monotonic() > end:
                    raise
                else:
                    time.sleep(0.01)

    def _require_table(self, db: sqlite3.Connection) -> None:
        found = db.execute("SELECT sql FROM sqlite_master WHERE name = 'reprogram_runs'").fetchone()
        if found is None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"CREATE TABLE IF NOT EXISTS {TABLE}")
            self._put(db, self._names())
        elif found[0] != f"CREATE TABLE {TABLE}":
            raise sqlite3.DatabaseError("the table has other columns")

    def _put(self, db: sqlite3.Connection, names: list[str]) -> None:
        """Write what the files of these runs say now, which no other process can overtake."""
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
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(NAME + ending).unlink(missing_ok=True)


@contextlib.contextmanager
def recorded(folder: RunFolder, config: RunConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Note a run's beginning, end and failure, in its folder and in the store; a store that fails is warned of once.

    Args:
        folder: of the run, owned by this process.
        config: that it is made from.
        say: told the warning.

    Raises:
        WriteError: the folder can't be written.
    """
    path = folder.path.resolve()
    store, works = RunStore(path.parent), True

    def note() -> None:
        nonlocal works
        try:
            if works:
                store.update(path.name)
        except TROUBLE as error:
            works = False
            say(f"warning: {store.path}: can't be written ({error}); the run itself isn't touched by that")

    folder.begin(config)
    note()
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(DataError):
            folder.end("" if isinstance(error, INTERRUPTIONS) else f"{type(error).__name__}: {error}")
        raise
    finally:
        note()


def describe(folder: RunFolder) -> Record:
    """What the files of a run say; where one is missing or damaged, nothing stands in its place.

    Returns:
        name, state (running, interrupted, finished or failed), began, ended, error, config, images_seen, seconds,
        validation, test and baselines; docs/cli.md says more.
    """
    times, result, last = _json(folder.times), _json(folder.result), _last(folder.history)
    config = _toml(folder.config).get("fit")
    error = _text(times.get("error"))
    if folder.result.exists():
        state, error = ("finished", None) if result else ("failed", "result.json is damaged")
    elif times.get("ended"):
        state = "failed" if error else "interrupted"
    else:
        state = "running" if owner(folder.lock) else "interrupted"
    baselines = result.get("baselines")
    validation = result.get("validation", {"accuracy": last.get("validation_accuracy")})
    return {
        "name": folder.path.name,
        "state": state,
        "began": _text(times.get("began")),
        "ended": _text(times.get("ended")),
        "error": error,
        "config": {key: _plain(value) for key, value in config.items()} if isinstance(config, dict) else {},
        "images_seen": _number(result.get("images_seen", last.get("images"))),
        "seconds": _number(result.get("seconds", last.get("seconds"))),
        "validation": _measured(validation),
        "test": _measured(result.get("test")),
        "baselines": {str(k): _measured(v) for k, v in baselines.items()} if isinstance(baselines, dict) else {},
    }


def _measured(value: Any) -> Record | None:
    """Accuracy, n and interval, if it is one."""
    if not isinstance(value, dict) or _number(value.get("accuracy")) is None:
        return None
    interval = value.get("interval")
    pair = isinstance(interval, list) and len(interval) == 2 and None not in map(_number, interval)
    return {"accuracy": value["accuracy"], "n": _number(value.get("n")), "interval": interval if pair else None}


def _plain(value: Any) -> Any:
    """A value of a TOML file as JSON has it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str) or _number(value) is not None else str(value)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and abs(value) < float("inf") else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _json(path: Path) -> Record:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(_read(path, MAX_BYTES))
        if isinstance(value, dict):
            return value
    return {}


def _toml(path: Path) -> Record:
    with contextlib.suppress(ValueError, RecursionError):
        return tomllib.loads(_read(path, MAX_BYTES).decode())
    return {}


def _last(history: Path) -> Record:
    """The last whole row."""
    for line in reversed(_read(history, TAIL_BYTES, tail=True).splitlines()):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                return row
    return {}


def _read(path: Path, limit: int, tail: bool = False) -> bytes:
    """The first or last bytes of an ordinary file; none where there is no such file."""
    with contextlib.suppress(OSError):
        if S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                if tail:
                    file.seek(max(0, path.stat().st_size - limit))
                return file.read(limit)
    return b""


def _stamp(folder: RunFolder) -> str:
    """What changes with the files that a record is made from."""
    parts = []
    for path in (folder.config, folder.times, folder.history, folder.result):
        try:
            found = path.stat()
            parts.append(f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}")
        except OSError:
            parts.append("-")
    return " ".join(parts)


def _seal(folder: RunFolder, record: str, stamp: str = "") -> str:
    """A digest of a record and the files that it is made from: it tells one that is old or damaged."""
    parts = (folder.path.name, stamp or _stamp(folder), record)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
