"""The command line's output and progress, and the options that every verb has."""

import contextlib
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from reprogram.cli.streams import is_utf8
from reprogram.hosts._consent import authorise
from reprogram.utils.text import duration, printable

if TYPE_CHECKING:
    from reprogram.training.results import FitProgress

LINE_EVERY_S = 15.0
"""Time between two lines about the progress of learning."""

LEAST_ROOM = 16
"""The fewest columns that a text beside another is given; with fewer it stands below."""


def _whole(_: Any, tokens: tuple[Token, ...]) -> int:
    """A whole number of the command line; one that would have to be rounded is refused."""
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
        i_am_authorised: exact name of a host elsewhere that you are allowed to send images to; at each start, never
            from a file or the environment.
    """

    device: str | None = None
    threads: Whole | None = None
    json: Annotated[bool, Parameter(negative=())] = False
    quiet: Annotated[bool, Parameter(negative=())] = False
    i_am_authorised: Annotated[list[str] | None, Parameter(negative=(), show_env_var=False)] = None

    def __post_init__(self) -> None:
        authorise(*self.i_am_authorised or ())


def emit(value: Any) -> None:
    """Print a result as JSON on stdout; characters that could steer a terminal are escaped, which keeps the value.

    Args:
        value: JSON values.
    """
    print(as_json(value, indent=2))


def as_json(value: Any, *, indent: int | None = None) -> str:
    """A result as JSON for stdout; characters that could steer a terminal are escaped, which keeps the value.

    Args:
        value: JSON values.
        indent: of each level, in spaces; None for one line.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=not is_utf8(sys.stdout), allow_nan=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def table(rows: Sequence[Sequence[object]], *, headed: bool = False) -> None:
    """Print rows in aligned columns on stdout.

    Where they are wider than the terminal, or than `COLUMNS` says, rows with headings become blocks, and what stands in
    the last columns of others goes on below itself. In a file or a pipe lines are as long as they have to be.

    Args:
        rows: cells of each row; later ones may be missing.
        headed: whether the first row holds headings.
    """
    text = [[printable(cell) for cell in row] for row in rows]
    widths = [max(_columns(row[i]) for row in text if i < len(row)) for i in range(max(map(len, text), default=0))]
    lines = ["  ".join(_padded(*cell) for cell in zip(row, widths, strict=False)).rstrip() for row in text]
    width = _width()
    if width is not None and max(map(_columns, lines), default=0) > width:
        lines = _blocks(text, width) if headed else _below(text, widths[0], width)
    for line in lines:
        print(line)


def _width() -> int | None:
    """The columns that text is laid out for; None where lines may have any length."""
    if "COLUMNS" in os.environ:
        return int(os.environ["COLUMNS"])
    try:
        return (os.get_terminal_size(sys.stdout.fileno()).columns or None) if sys.stdout.isatty() else None
    except (OSError, ValueError):
        return None


def _columns(text: str) -> int:
    """How many columns a text takes on a terminal, on which some scripts have wide characters."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _blocks(rows: list[list[str]], width: int) -> list[str]:
    """A block for each row below the headings: its first cell, then a line for each cell that isn't empty."""
    heads, *others = rows
    indent = max(map(_columns, heads[1:]), default=0) + 2
    lines = []
    for row in others:
        cells = [["  " + head, cell] for head, cell in zip(heads[1:], row[1:], strict=False) if cell]
        lines += [row[0], *_below(cells, indent, width)]
    return lines


def _below(rows: list[list[str]], indent: int, width: int) -> list[str]:
    """Lines in which what follows each row's first cell goes on below itself; words aren't divided."""
    lines = []
    for first, *others in rows:
        text = "  ".join(cell for cell in others if cell)
        start, later = _padded(first, indent) + "  ", " " * (indent + 2)
        if width - len(later) < max([LEAST_ROOM, *map(_columns, text.split())]):
            lines.append(first)
            start = later = " " * (len(first) - len(first.lstrip()) + 2)
        room = max(width - len(later), 1)
        wrapped = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [(start + wrapped[0]).rstrip(), *(later + line for line in wrapped[1:])]
    return lines


def is_live() -> bool:
    """Whether stderr is a terminal on which progress can be drawn in place."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class Display:
    """Progress on stderr: a bar where that is a terminal, and no dumb one, else a line now and then.

    Args:
        quiet: whether nothing is shown.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.last_line = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line on stderr, unless quiet; a warning always, and as every warning of the command line looks.

        Args:
            text: the line; that of a warning begins with `warning: `.
        """
        if text.startswith("warning: "):
            print(printable(f"reprogram: {text}"), file=sys.stderr, flush=True)
        elif not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def learning(self) -> "Iterator[Callable[[FitProgress], None]]":
        """A function that shows the progress of `fit`, for its argument `on_progress`."""
        if self.quiet or not is_live():
            yield self._line
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (BarColumn(bar_width=24), TextColumn("{task.percentage:3.0f} %  {task.description}"))
        with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
            bars: dict[str, Any] = {}

            def show(state: "FitProgress") -> None:
                learning = state.stage in ("learning", "validation")
                stage, fraction = ("", state.fraction) if learning else (state.stage, state.stage_fraction)
                bar = bars[stage] if stage in bars else bars.setdefault(stage, progress.add_task("", total=1.0))
                progress.update(bar, completed=fraction, description=str(state))

            yield show

    @contextlib.contextmanager
    def counting(self, total: int | None, what: str) -> "Iterator[Callable[[int, int], None]]":
        """A function that shows how many are done: called with their number, and how many of them failed.

        Args:
            total: how many there are; None where nobody knows.
            what: they are, such as "images".
        """
        begun, first = time.monotonic(), [-1]
        self.last_line = begun

        def text(done: int, failed: int) -> str:
            first[0] = done if first[0] < 0 else first[0]
            rate = (done - first[0]) / max(time.monotonic() - begun, 1e-9)
            left = "" if total is None or not rate else f", {duration((total - done) / rate)} left"
            of = "" if total is None else f" of {total:,}"
            return f"{done:,}{of} {what}, {rate:.1f}/s{left}" + (f", {failed:,} failed" if failed else "")

        def line(done: int, failed: int) -> None:
            shown = text(done, failed)
            if not self.quiet and time.monotonic() - self.last_line > LINE_EVERY_S:
                self.last_line = time.monotonic()
                self.say(shown)

        if self.quiet or not is_live():
            yield line
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as progress:
            bar = progress.add_task("", total=total)
            yield lambda done, failed: progress.update(bar, completed=done, description=text(done, failed))

    def _line(self, progress: "FitProgress") -> None:
        learning = progress.stage in ("learning", "validation")
        is_end = progress.stage == "learning" and progress.fraction >= 1
        if not self.quiet and (time.monotonic() - self.last_line > LINE_EVERY_S or is_end):
            self.last_line = time.monotonic()
            self.say(f"{100 * progress.fraction:3.0f} %  {progress}" if learning else f"       {progress}")
