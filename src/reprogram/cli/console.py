"""What the command line shows while it works, and the options that every verb has."""

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from reprogram.errors import ConfigError
from reprogram.text import printable

if TYPE_CHECKING:
    from reprogram.fitting import Report

LINE_EVERY_S = 15.0
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def _whole(_: Any, tokens: tuple[Token, ...]) -> int:
    """A whole number, and nothing that would have to be rounded."""
    try:
        return int(tokens[-1].value)
    except ValueError:
        raise ValueError(f"{tokens[-1].value!r} is no whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]
"""The type of options that count something."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every verb that computes.

    Attributes:
        device: cpu, cuda, cuda:1, mps; auto takes the best there is.
        threads: of the CPU; all cores by default.
        json: print the result as JSON.
        quiet: print no progress.
    """

    device: str | None = None
    threads: Whole | None = None
    json: Annotated[bool, Parameter(negative=())] = False
    quiet: Annotated[bool, Parameter(negative=())] = False


def emit(value: Any) -> None:
    """Print a result as JSON; what could steer a terminal is escaped and stays the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    print("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def table(rows: list[tuple[object, ...]]) -> None:
    """Print rows in aligned columns."""
    text = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in text if i < len(row)) for i in range(max(map(len, text), default=0))]
    for row in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


def start_torch(threads: int | None) -> None:
    """Set up this process for computing; called before torch is imported. The library itself never does this.

    Two things matter on a CPU. Threads that wait in a spinning loop collapse when another process wants their core,
    so they sleep instead (`OMP_WAIT_POLICY`, `GOMP_SPINCOUNT`). And activations of tens of megabytes are allocated
    and freed in every step: glibc by default returns each to the system and pays for all its pages anew; it is told
    to keep them.
    """
    if threads is not None and not 1 <= threads <= 1024:
        raise ConfigError(f"--threads {threads}; a number from 1 to 1024 is expected")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 * 2**20)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


class Display:
    """Progress on stderr: a bar where that is a terminal, else a line now and then; nothing when quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.last_line = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def learning(self) -> "Iterator[Callable[[Report], None]]":
        """Something to hand to `fit` as its observer."""
        if self.quiet or not sys.stderr.isatty():
            yield self._line
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (BarColumn(bar_width=24), TextColumn("{task.percentage:3.0f} %  {task.description}"))
        with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
            bar = progress.add_task("", total=1.0)
            yield lambda report: progress.update(bar, completed=report.fraction, description=describe(report))

    def _line(self, report: "Report") -> None:
        if not self.quiet and (time.monotonic() - self.last_line > LINE_EVERY_S or report.fraction >= 1):
            self.last_line = time.monotonic()
            self.say(f"{100 * report.fraction:3.0f} %  {describe(report)}")


def describe(report: "Report") -> str:
    """Loss, validation accuracy, speed and time left."""
    left = report.seconds * (1 - report.fraction) / max(report.fraction, 1e-9)
    accuracy = f"{report.validation.accuracy:.3f}" if report.validation else "–"
    return (
        f"loss {report.loss:.3f}  validation {accuracy}  {report.images_per_s:.0f} images/s  "
        f"{report.images} images  {clock(left)} left"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d} h" if hours else f"{m}:{s:02d} min"
