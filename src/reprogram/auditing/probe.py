"""Questions beside the cells: whether the host agrees with itself, what its numbers are, and what its gradients say."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from reprogram.auditing.judging import gradients, judge
from reprogram.auditing.report import Probe
from reprogram.errors import BudgetError, ConfigError, DataError, HostUnavailableError
from reprogram.hosts._sentinels import fixed_images
from reprogram.hosts._store import billed_in
from reprogram.hosts._trial import first_line
from reprogram.hosts.base import Host
from reprogram.runs.asked import AskedLog
from reprogram.training.answers import keeping_answers
from reprogram.utils.files import read_json, write_atomic
from reprogram.utils.text import printable

FIXED, SHOWN = 16, 16
"""Images of coloured tiles, and images of the first task as its canvas shows them."""

PASSES = ("pass1", "pass2", "pass3")
"""The names of the passes: two at the start, one at the end."""

T = TypeVar("T")

PATIENCE_S = 300.0
"""Seconds that a host may take to answer the images of a pass."""


class Prober:
    """Asks the host the same images three times, and keeps each pass's answers in a file, so that none is asked again.

    Args:
        host: the host as it answers on its own rung.
        images: b × C × H × W pixels in [0, 1].
        labels: b, a host label for each image, for the gradients of the loss.
        folder: of the files.

    Attributes:
        log: of what is asked and has no store of answers.
        limit: the most images that are asked beside the cells, with those of processes that were killed; None for no
            limit.
    """

    def __init__(self, host: Host, images: Tensor, labels: Tensor, folder: Path) -> None:
        self.host, self.images, self.labels, self.folder = host, images, labels, folder
        self.log = AskedLog(folder / "asked.txt")
        self.limit: int | None = None

    @property
    def done(self) -> int:
        """The images of the passes whose answers are here, those for gradients included."""
        return len(self.images) * sum((self.folder / f"{name}.json").exists() for name in (*PASSES, "gradients"))

    @property
    def lost(self) -> int:
        """The images of finished passes whose answers never came whole."""
        found = [self._read(name) for name in PASSES]
        return sum(int(values["lost"]) for values in found if isinstance(values, dict))

    @property
    def spent(self) -> int:
        """All that was asked beside the cells, lost images and those of killed processes included."""
        if self.host.info.access == "gradient":
            return self.log.total
        return self.log.total + self.done + self.lost + self._under_way

    @property
    def _under_way(self) -> int:
        """The images of a pass that a killed process had begun."""
        begun = [name for name in PASSES if not (self.folder / f"{name}.json").exists()]
        return sum(billed_in(self.folder / f"{name}.sqlite") for name in begun)

    def begin(self, patience_s: float = PATIENCE_S) -> None:
        """Ask the two passes at the start.

        Args:
            patience_s: seconds that each may take.

        Raises:
            HostUnavailableError: the host doesn't answer in this time, or with numbers that aren't finite.
            ReprogramError: the host refuses.
        """
        for name in PASSES[:2]:
            self._pass(name, patience_s)
        if self.host.info.access == "gradient" and self._read("gradients") is None:
            with self._limited(), self.log.counting(self.host):
                self._write("gradients", gradients(self.host, self.images, self.labels))

    def end(self, patience_s: float = PATIENCE_S) -> Probe:
        """Ask the pass at the end.

        Args:
            patience_s: seconds that it may take.

        Returns:
            What all passes found; where the host gives no answers at the end, what those at the start did, and why.
        """
        first, second = (self._pass(name, patience_s) for name in PASSES[:2])
        of_gradients = self._read("gradients") or {}
        try:
            last = self._pass(PASSES[2], patience_s)
        except BudgetError:
            raise
        except Exception as error:  # A host may raise anything, and all cells are finished.
            return replace(judge(first, second, None, self.host, of_gradients), error=printable(first_line(error)))
        return judge(first, second, last, self.host, of_gradients)

    def now(self, patience_s: float = PATIENCE_S) -> Probe:
        """Ask once more, beside the passes, whose answers stay as they are.

        Args:
            patience_s: seconds that it may take.

        Returns:
            What the passes found, with today's answers as those at the end.
        """
        first, second = (self._pass(name, patience_s) for name in PASSES[:2])
        with self._limited(), self.log.counting(self.host):
            today: Tensor = in_time(lambda: self.host(self.images), patience_s, self.host.info.id).double().cpu()
        return judge(first, second, today, self.host, {})

    def reopen(self) -> None:
        """Let the pass at the end be asked again: cells will be run after it. What it had asked stays on the bill."""
        path = self.folder / f"{PASSES[2]}.json"
        if path.exists():
            stored = self._read(PASSES[2])
            if self.host.info.access != "gradient":
                self.log.repeated(len(self.images) + (int(stored["lost"]) if isinstance(stored, dict) else 0))
            path.unlink()

    def _pass(self, name: str, patience_s: float) -> Tensor:
        """The answers of a pass: those of the file, or else those that are asked now and kept there."""
        stored = self._read(name)
        if stored is not None:  # Earlier versions wrote the scores alone.
            return self._scores(name, stored)
        store, lost = self.folder / f"{name}.sqlite", self.host.meter.lost
        asking = keeping_answers(self.host, store, run=f"probe {name[-1]}", anew=True)
        with self._limited(), asking, self.log.counting(self.host):
            scores: Tensor = in_time(lambda: self.host(self.images), patience_s, self.host.info.id).double().cpu()
        if not bool(torch.isfinite(scores).all()):
            raise HostUnavailableError(
                f"host {self.host.info.id}: answers with numbers that aren't finite (NaN or infinity); mend the host"
            )
        self._write(name, {"scores": scores.tolist(), "lost": self.host.meter.lost - lost})
        for end in ("", "-wal", "-shm"):
            store.with_name(store.name + end).unlink(missing_ok=True)
        return scores

    def _scores(self, name: str, stored: Any) -> Tensor:
        """The answers that a pass's file holds."""
        try:
            scores = torch.tensor(stored["scores"] if isinstance(stored, dict) else stored, dtype=torch.float64)
        except (KeyError, TypeError, ValueError):
            scores = torch.empty(0)
        if scores.ndim != 2 or len(scores) != len(self.images):
            raise self._damaged(name)
        return scores

    def _damaged(self, name: str) -> DataError:
        return DataError(f"{self.folder / f'{name}.json'}: is damaged; remove it and give the command again")

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """In the block, the meter refuses what would exceed the limit."""
        meter = self.host.meter
        if self.limit is not None:  # A pass that goes on adds what was under way to the meter.
            meter.total_limit = meter.billed + self.limit - self.spent + self._under_way
        try:
            yield
        finally:
            meter.total_limit = None

    def _read(self, name: str) -> Any:
        path = self.folder / f"{name}.json"
        try:
            return read_json(path) if path.exists() else None
        except (OSError, ValueError):
            raise self._damaged(name) from None

    def _write(self, name: str, values: Any) -> None:
        write_atomic(self.folder / f"{name}.json", json.dumps(values).encode())


def in_time(ask: Callable[[], T], patience_s: float, name: str) -> T:
    """What a function returns, if it returns in time; one that hangs is left alone.

    Args:
        ask: asks the host.
        patience_s: seconds that it may take.
        name: of the host, for the message.

    Raises:
        ConfigError: the time is no positive number of seconds.
        HostUnavailableError: it didn't return in time.
    """
    if not 0 < patience_s <= threading.TIMEOUT_MAX:
        raise ConfigError(f"patience={patience_s:g}; a positive number of seconds is expected")
    found: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with torch.no_grad():
                found.append(ask())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patience_s)
    if failed:
        raise failed[0]
    if not found:
        raise HostUnavailableError(
            f"host {name}: gave no answer in {patience_s:g} seconds; nothing more is asked, make it answer or raise "
            "--patience"
        )
    return found[0]


def probe_images(host: Host, shown: Tensor) -> Tensor:
    """The images of a pass: coloured tiles, and canvases of a task.

    Args:
        host: whose input they are.
        shown: n × C × H × W canvases.
    """
    tiles = fixed_images(FIXED, host.info).to(host.mean)
    return torch.cat([tiles, shown[:SHOWN].to(host.mean)])


def remember(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What was noted at the first start of an audit in a folder, or what is noted now.

    Args:
        folder: of the probe's files.
        found: JSON values to note.
    """
    path = folder / "host.json"
    with contextlib.suppress(OSError, ValueError):
        stored: dict[str, Any] = read_json(path)
        return stored
    write_atomic(path, (json.dumps(found, indent=2) + "\n").encode())
    return found
