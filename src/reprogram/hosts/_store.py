"""The answers that a host was paid for, and the ledger of what was paid: a small database that survives kill -9."""

import contextlib
import json
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reprogram.errors import ConfigError, DataError, WriteError
from reprogram.hosts._meter import Meter, Outcome

MEMORY_BYTES = 2**28
"""The most bytes of answers that a store in memory keeps; the oldest go first."""

COUNTS = ("calls", "images", "lost", "requests", "retries")
"""The counts of a meter that are kept."""

OUTCOMES: dict[Outcome, int] = {"answered": 1, "refused": 2, "lost": 3, "unsent": 4}
"""How the outcome of a request is written; 0 is one that is under way."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, images INTEGER, retry INTEGER, outcome INTEGER);
CREATE TABLE IF NOT EXISTS answers
    (place INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB UNIQUE, request INTEGER, row BLOB);
"""

TOTALS = """
SELECT TOTAL(outcome = 1), TOTAL(images * (outcome = 1)), TOTAL(images * (outcome = 3)), COUNT(*), TOTAL(retry)
FROM requests WHERE outcome != 4
"""


class AnswerStore:
    """Keeps answers by the digests of their images, and the bill, in one transaction for each request.

    A request is written before it is sent. One that a killed process had under way counts as lost when the store is
    opened again: so the bill is never below the host's own count.

    A continued run asks, from its checkpoint on, for images that are here already. These are no new cost, but they are
    part of what it asked for: `used` goes on as it did the first time, and all that depends on it.

    Args:
        path: the file; None keeps all in memory, and forgets the oldest answers beyond `MEMORY_BYTES`.
        meter: the host's. The counts of the file are added to it, and it writes its requests here until `close`.
        key: what the answers depend on beside the images: another file is refused.

    Attributes:
        used: images that this run asked for, each once.
        used_requests: requests that they came with.
        free: images that it looked at again, which were answered already.
        before: the counts that the meter had, by their names, before this run asked for anything.
        labels: of a service with an open vocabulary, in the order of the columns of its answers.

    Raises:
        ConfigError: the file has another key.
        DataError: the file is damaged, or can't be made.
    """

    def __init__(self, path: Path | None, meter: Meter, *, key: str = "") -> None:
        self.path, self.meter = path, meter
        self.used = self.used_requests = self.free = 0
        self._ahead: dict[int, int] = {}
        self._lock = threading.RLock()
        with self._errors():
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            with self._errors():
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.executescript(SCHEMA)
                self._check(key)
                self.before = self._open_bill()
                self.labels: tuple[str, ...] = tuple(json.loads(self._fact("labels", "[]")))
                self.go_on(mark=0, used=0, used_requests=0, free=0)
        except BaseException:
            self._db.close()
            raise
        self._bytes = 0
        meter.ledger = self

    def close(self) -> None:
        """Close the file; the meter writes nothing more."""
        self.meter.ledger = None
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._write_seconds()
            self._db.close()

    def is_empty(self) -> bool:
        """Whether nothing was ever asked for."""
        with self._lock, self._errors():
            return bool(self._db.execute("SELECT NOT EXISTS (SELECT 1 FROM requests)").fetchone()[0])

    @property
    def mark(self) -> int:
        """The place of the last answer that this run has come to; a checkpoint holds it."""
        with self._lock:
            return min(self._ahead, default=self._last_place() + 1) - 1

    def go_on(self, *, mark: int, used: int, used_requests: int, free: int) -> None:
        """Go on from a checkpoint: answers after it are here already, and will be asked for again.

        Args:
            mark: the checkpoint's.
            used: the checkpoint's.
            used_requests: the checkpoint's.
            free: the checkpoint's.
        """
        with self._lock, self._errors():
            self.used, self.used_requests, self.free = used, used_requests, free
            self._ahead = dict(self._db.execute("SELECT place, request FROM answers WHERE place > ?", (mark,)))
            if self._last_place() < mark:  # The file is older than the checkpoint; places go on behind its mark.
                self._db.execute("DELETE FROM sqlite_sequence")
                self._db.execute("INSERT INTO sqlite_sequence VALUES ('answers', ?)", (mark,))

    def add(self, counts: dict[str, int]) -> None:
        """Add to the bill what an older state knows of and this file doesn't.

        Args:
            counts: by their names.
        """
        with self._lock, self._transaction():
            for name, value in counts.items():
                setattr(self.meter, name, getattr(self.meter, name) + value)
                self._set(f"added {name}", int(self._fact(f"added {name}", 0)) + value)

    def learn(self, labels: Sequence[str]) -> None:
        """Keep the labels of a service, before the answers that use them.

        Args:
            labels: all of them, in the order of their columns.
        """
        with self._lock, self._transaction():
            self._set("labels", json.dumps(labels))
            self.labels = tuple(labels)

    def get(self, digests: Sequence[bytes]) -> dict[bytes, Tensor]:
        """The answers to some images, as far as they are here; they count as used, where they didn't yet.

        Args:
            digests: of the images, no two the same.

        Returns:
            K scores (float32) by digest.
        """
        found: list[tuple[int, bytes, bytes]] = []
        with self._lock, self._errors():
            for start in range(0, len(digests), 500):
                some = digests[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT place, digest, row FROM answers WHERE digest IN ({marks})"  # noqa: S608
                found += self._db.execute(query, some).fetchall()
            reached = [self._ahead.pop(place) for place, _, _ in found if place in self._ahead]
            self.used += len(reached)
            self.used_requests += len(set(reached))
            self.free += len(found) - len(reached)
        return {
            digest: torch.frombuffer(bytearray(zlib.decompress(row)), dtype=torch.float32) for _, digest, row in found
        }

    def put(self, digests: Sequence[bytes], rows: Tensor, requests: list[int]) -> None:
        """Keep answers, and settle the requests that they came with, in one transaction.

        Args:
            digests: b, of the images, no two the same.
            rows: b × K scores.
            requests: the requests' numbers in the ledger.
        """
        packed = [zlib.compress(row.numpy().tobytes(), 1) for row in rows.detach().cpu().float()]
        number = requests[-1] if requests else 0
        with self._lock, self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO answers (digest, request, row) VALUES (?, ?, ?)",
                [(digest, number, row) for digest, row in zip(digests, packed, strict=True)],
            )
            self._settle(requests, "answered")
            self._write_seconds()
            if self.path is None:
                self._forget(sum(map(len, packed)))
            self.used += len(digests)
            self.used_requests += bool(requests)

    def sending(self, images: int, *, retry: bool) -> int:
        """Note a request before it is sent; until more is noted it counts as lost.

        Args:
            images: in the request.
            retry: whether it repeats another one.

        Returns:
            The number by which `settle` knows the request.
        """
        with self._lock, self._errors():
            values = (images, int(retry), 0)
            cursor = self._db.execute("INSERT INTO requests (images, retry, outcome) VALUES (?, ?, ?)", values)
            return int(cursor.lastrowid or 0)

    def settle(self, requests: list[int], outcome: Outcome) -> None:
        """Note what became of requests.

        Args:
            requests: their numbers.
            outcome: of all of them.
        """
        with self._lock, self._transaction():
            self._settle(requests, outcome)

    def _settle(self, requests: list[int], outcome: Outcome) -> None:
        self._db.executemany(
            "UPDATE requests SET outcome = ? WHERE number = ?", [(OUTCOMES[outcome], number) for number in requests]
        )

    def _open_bill(self) -> dict[str, int]:
        """Add what the file knows to the meter, and note in the file what the meter had counted before."""
        with self._transaction():
            self._db.execute("UPDATE requests SET outcome = 3 WHERE outcome = 0")
            before = {name: int(self._fact(name, 0)) + getattr(self.meter, name) for name in COUNTS}
            for (name, value), total in zip(before.items(), self._db.execute(TOTALS).fetchone(), strict=True):
                self._set(name, value)
                setattr(self.meter, name, value + int(total) + int(self._fact(f"added {name}", 0)))
            self.meter.seconds += float(self._fact("seconds", 0.0))
        return before

    def _check(self, key: str) -> None:
        found = self._fact("key", key)
        if found != key:
            raise ConfigError(
                f"{self.path}: holds the answers of another host or run ({found}, not {key}); remove it, or start "
                "elsewhere"
            )
        self._set("key", key)

    def _fact(self, name: str, default: Any) -> Any:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else row[0]

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _write_seconds(self) -> None:
        self._set("seconds", self.meter.waited)

    def _last_place(self) -> int:
        return int(self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence").fetchone()[0])

    def _forget(self, more: int) -> None:
        """Forget the older half of the answers where there are too many bytes of them."""
        self._bytes += more
        if self._bytes > MEMORY_BYTES:
            places = "SELECT (MIN(place) + MAX(place)) / 2 FROM answers"
            self._db.execute(f"DELETE FROM answers WHERE place <= ({places})")  # noqa: S608
            self._bytes = int(self._db.execute("SELECT TOTAL(LENGTH(row)) FROM answers").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in one line what is wrong with the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise WriteError(f"{self.path}: can't be written ({error}); free some space, or choose another") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: damaged ({error}); without this file the run goes on, but asks again for what it holds"
            ) from error


def billed_in(path: Path) -> int:
    """The images of a store's file that were answered, lost or are under way; 0 where there is no file to read.

    Args:
        path: of the file, which isn't changed.
    """
    if not path.exists():
        return 0
    query = "SELECT TOTAL(images) FROM requests WHERE outcome IN (0, 1, 3)"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as file:
        return int(file.execute(query).fetchone()[0])
    return 0
