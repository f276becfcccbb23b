"""What a run's processes asked the host beside what the run's own bill knows: a file that survives kill -9.

The bill of a host that only answers is in its store of answers. Two things aren't: the images that a function is asked
about each time it is loaded, and what a killed process had asked of a host that gives gradients after its last
checkpoint, which the process after it asks again. Each is a line of `asked.txt`, written before the host is asked.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reprogram.errors import BudgetError, WriteError

if TYPE_CHECKING:
    from reprogram.hosts._meter import Outcome
    from reprogram.hosts.base import Host

LOAD = "load "
"""What a line begins with that counts the images of loading the host."""


class AskedLog:
    """The file, and a limit that what is asked is held against; the ledger of a host that has no store of answers.

    Args:
        path: the file; it is made with its first line.
        limit: the most images that may be asked in all; None for no limit.

    Attributes:
        loads: images that were asked while the host was loaded, by all processes.
        counts: images that were asked of a host without a store of answers, by all processes.
        largest_load: images that a load asked, the most of all.

    Raises:
        WriteError: the file can't be read or written.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path, self.limit = path, limit
        self.loads = self.counts = self.largest_load = 0
        with self._errors():
            lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
        for line in lines:
            number = line.removeprefix(LOAD)
            if number.isdigit():
                self._add(int(number), is_load=line != number)

    @property
    def total(self) -> int:
        """All images of the file."""
        return self.loads + self.counts

    def check(self, images: int, *, spent: int = 0) -> None:
        """Refuse what would exceed the limit.

        Args:
            images: that are wanted.
            spent: that were asked and aren't in the file.

        Raises:
            BudgetError: they are too many.
        """
        if self.limit is not None and self.total + spent + images > self.limit:
            raise BudgetError(
                f"the host may be asked for {self.limit:,} images here, tests and repetitions included; "
                f"{self.total + spent:,} are spent, and {images:,} more are wanted"
            )

    def loaded(self, images: int) -> None:
        """Note that the host was loaded.

        Args:
            images: that it was asked for while it was; nothing is written for 0.
        """
        if images:
            self._write(f"{LOAD}{images}", images, is_load=True)

    def repeated(self, images: int) -> None:
        """Note images whose answers will be asked for again.

        Args:
            images: that were asked.
        """
        self._write(str(images), images, is_load=False)

    @contextlib.contextmanager
    def counting(self, host: "Host") -> Iterator[None]:
        """In the block, what a host is asked is written here first, unless it has a store of answers.

        Args:
            host: the host.
        """
        meter = host.meter
        if meter.ledger is not None:
            yield
            return
        meter.ledger = self
        try:
            yield
        finally:
            meter.ledger = None

    def sending(self, images: int, *, retry: bool) -> int:
        """Note a call before the host is asked; see `reprogram.hosts._meter.Ledger`.

        Args:
            images: in the call.
            retry: has no effect.

        Raises:
            BudgetError: the limit would be exceeded.
        """
        self.check(images)
        self._write(str(images), images, is_load=False)
        return 0

    def settle(self, requests: list[int], outcome: "Outcome") -> None:
        """Do nothing: what was asked was asked.

        Args:
            requests: have no effect.
            outcome: has no effect.
        """

    def remove_needless(self, counted: int) -> None:
        """Remove the file of a finished run where it says nothing that its bill doesn't.

        Args:
            counted: images of the bill.
        """
        if not self.loads and self.counts <= counted:
            self.path.unlink(missing_ok=True)

    def _add(self, images: int, *, is_load: bool) -> None:
        if is_load:
            self.loads, self.largest_load = self.loads + images, max(self.largest_load, images)
        else:
            self.counts += images

    def _write(self, line: str, images: int, *, is_load: bool) -> None:
        with self._errors():
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, f"{line}\n".encode())
            finally:
                os.close(file)
        self._add(images, is_load=is_load)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(
                f"{self.path}: can't be used ({error.strerror or error}); free some space, or choose another"
            ) from error
