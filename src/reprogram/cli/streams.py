"""The standard streams of the command line: those that are closed, full, broken, or of an encoding other than UTF-8.

Progress and warnings that can't be shown are dropped, and what they tell of goes on. Results that can't be written are
an error. A character that a stream's encoding lacks is written as an escape.
"""

import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from reprogram.errors import DataError

WIDTHS = (20, 1000)
"""The fewest and the most columns that text is laid out for; with one or two, Rich never ends."""


class OutputError(DataError):
    """Results that can't be written to stdout."""


class ReaderGoneError(Exception):
    """The reader of stdout has gone, as `head` does when it has read enough."""


class Stream:
    """A standard stream that takes any text.

    Args:
        stream: the stream that is written to; None where the process was started without it.
        failed: called with the error of a write that failed; nothing is written after that.
    """

    def __init__(self, stream: TextIO | None, failed: Callable[[BaseException], None]) -> None:
        self._is_closed = stream is None
        self._stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8") if stream is None else stream
        self._failed = failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, in which characters that the encoding lacks are escaped.

        Args:
            text: any text.

        Returns:
            The number of its characters.
        """
        with self._watched():
            if self._is_closed and text:
                raise OSError("it is closed")
            self._stream.write(encodable(text, self._stream.encoding))
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        with self._watched():
            self._stream.flush()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:  # Full, broken; closed; in use by a handler of signals.
            with contextlib.suppress(OSError, ValueError):  # So that the interpreter's last flush finds no error.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            self._failed(error)


def encodable(text: str, encoding: str | None) -> str:
    r"""A text whose every character an encoding has: the others are written as \xe9, \u732b and so on.

    Args:
        text: any text, also one with bytes of file names that aren't UTF-8.
        encoding: the name of the encoding; None for any character.
    """
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return text.encode(encoding, errors="backslashreplace").decode(encoding)


def is_utf8(stream: TextIO) -> bool:
    """Whether a stream takes every character as it is.

    Args:
        stream: the stream; one in memory, which has no encoding, does.
    """
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """In the block, `sys.stderr` drops what it can't write, and `sys.stdout` raises errors that `main` knows.

    Raises:
        OutputError: stdout is closed or full.
        ReaderGoneError: the reader of stdout has gone.
    """
    for number in range(3):  # A file that is opened later must not get the number of a closed stream.
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, Stream(sys.stdout, _refuse))
    sys.stderr = cast(TextIO, Stream(sys.stderr, lambda _: None))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def limit_width() -> None:
    """Have Rich lay text out for a width that it can: terminals and `COLUMNS` may say 0, 1, or what is no number."""
    for name in ("COLUMNS", "LINES"):
        value = os.environ.pop(name, "")
        if re.fullmatch("0*[1-9][0-9]{0,9}", value, re.ASCII):
            os.environ[name] = str(min(max(int(value), WIDTHS[0]), WIDTHS[1])) if name == "COLUMNS" else value
    for number in range(3):
        with contextlib.suppress(OSError):
            if 0 < os.get_terminal_size(number).columns < WIDTHS[0]:
                os.environ["COLUMNS"] = str(WIDTHS[0])


def _refuse(error: BaseException) -> None:
    if isinstance(error, BrokenPipeError):
        raise ReaderGoneError from None
    reason = getattr(error, "strerror", None) or error
    raise OutputError(f"stdout: can't be written ({reason}); free some space, or send it to another place") from None
