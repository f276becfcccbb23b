"""The table that `reprogram predict --out` writes: a row for each image, gone on with where it was begun."""

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprogram.cli.console import Display, as_json
from reprogram.errors import ConfigError, FolderInUseError
from reprogram.utils.lock import locked, owner
from reprogram.utils.row_files import CsvFile, JsonLinesFile, RowFile, row_file
from reprogram.utils.text import as_utf8, printable

if TYPE_CHECKING:
    from reprogram.evaluation.bulk import FileAnswer

COLUMNS: dict[str, type] = {
    "image": str,
    "label": str,
    "probability": float,
    "host_label": str,
    "host_probability": float,
    "error": str,
    "program": str,
}
"""The type of each column."""
MAX_NAMED = 10
"""Unread images that are named on stderr; the column `error` names all."""
DIGITS = 7
"""Significant digits of a probability: what float32 holds."""


class Table:
    """Rows of answers by one program, in a file or on stdout.

    Args:
        out: the file; - for stdout.
        format: csv, jsonl or parquet; None where the file's ending says it.
        program: the beginning of the program file's digest, and what else decides its answers.

    Attributes:
        at_once: rows that are computed together.
    """

    at_once = 64

    def __init__(self, out: Path, format: str | None, program: str) -> None:
        self.out, self.program, self.to_stdout = out, program, str(out) == "-"
        if self.to_stdout and format not in ("csv", "jsonl"):
            raise ConfigError("--out -: say --format csv or --format jsonl; Parquet needs a file")
        if out.is_dir() or (out.exists() and not out.is_file()):
            raise ConfigError(f"{out}: is no ordinary file; give --out the name of a file")
        self.file: RowFile = row_file(out, COLUMNS, format)

    def add_host(self, spec: str) -> None:
        """Note another host than the program was learned for, which decides the answers too.

        Args:
            spec: the host's.
        """
        self.program += f"-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"

    def matched(self, paths: Iterator[Path]) -> tuple[int, int, Iterator[Path]]:
        """Compare the file's rows with the images, in their order.

        Of a file that goes on, whole batches of rows are kept, so that every image is computed in the same batch as if
        nothing had been interrupted, and gets the same digits.

        Args:
            paths: of the images.

        Returns:
            How many rows the file keeps; how many of them are of images that can't be read; and the other paths.

        Raises:
            ConfigError: the file holds rows of other images, or of another program, host or precision.
        """
        count = unread = 0
        kept = (0, 0)
        again: list[Path] = []
        for row in () if self.to_stdout else self.file.rows():
            path = next(paths, None)
            if path is None or row["image"] != as_utf8(str(path)):
                which = "there are no more images" if path is None else f"image {count + 1} is {printable(path)} now"
                raise ConfigError(
                    f"{self.out}: row {count + 1} is of {printable(row['image'])}, and {which}; "
                    "give the same images in the same order, or another --out"
                )
            if row["program"] != self.program:
                raise ConfigError(
                    f"{self.out}: holds answers of another program, host or precision; choose another --out"
                )
            again.append(path)
            count, unread = count + 1, unread + (row["error"] is not None)
            if count % self.at_once == 0:
                kept, again = (count, unread), []
                self.file.mark()
        if (following := next(paths, None)) is None:
            return count, unread, iter(())
        self.file.cut()
        return *kept, chain(again, [following], paths)

    def write(self, answers: "list[FileAnswer]") -> None:
        """Append the rows of answers.

        Args:
            answers: in the order of their images.
        """
        rows = [row_of(answer, self.program) for answer in answers]
        if not self.to_stdout:
            self.file.write(rows)
            return
        for row in rows:
            if isinstance(self.file, JsonLinesFile):
                print(as_json(row))
            else:
                text = self.file.encode(row).decode().removesuffix("\r\n")
                print(printable(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()


def open_rows(
    out: Path,
    format: str | None,
    program_file: Path,
    *,
    host: str | None = None,
    precision: str = "float32",
    download: bool = False,
) -> Table:
    """The table that answers of a program go to.

    Args:
        out: the file; - for stdout.
        format: csv, jsonl or parquet; None where the file's ending says it.
        program_file: the program; it is read and checked.
        host: the spec of another host than the program was learned for; None for that one.
        precision: the type that the host computes in.
        download: whether one of the Hub may be fetched.

    Raises:
        ConfigError: the file's name says no format, or the package for it isn't installed.
        ProgramFileError: the program file is refused.
    """
    table = Table(out, format, "")
    from reprogram.programfile.file import read

    table.program = read(program_file, download=download).header.digest[:16]
    if host is not None:
        table.add_host(host)
    if precision != "float32":
        table.program += f"-{precision}"
    return table


def written(
    table: Table,
    paths: Iterator[Path],
    total: int | None,
    answer: "Callable[[Iterable[Path]], Iterator[FileAnswer]]",
    display: Display,
) -> dict[str, Any]:
    """Write a row for each image that the table doesn't have yet.

    Args:
        table: where the rows go.
        paths: of all images, also of those that the table has.
        total: how many these are; None where nobody knows.
        answer: yields an answer for each path.
        display: shows how far it is.

    Returns:
        The number of `images` in the table, how many of these were there `before`, and how many are `unread`.

    Raises:
        ConfigError: the table holds rows of other images, or of another program.
        FolderInUseError: another process writes it.
        WriteError: it can't be written.
    """
    if table.to_stdout:
        if isinstance(table.file, CsvFile):
            print(table.file.head().decode(), end="")
        return _appended(table, paths, total, answer, display)
    lock = table.out.with_name(f".{table.out.name}.lock")
    table.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(lock):
            return _appended(table, paths, total, answer, display)
    except FolderInUseError:
        raise FolderInUseError(
            f"{table.out}: process {owner(lock)} writes it; wait for it, or choose another --out"
        ) from None


def _appended(table: Table, paths: Iterator[Path], total: int | None, answer: Any, display: Display) -> dict[str, Any]:
    before, unread, paths = table.matched(paths)
    done, named = before, 0
    if before:
        display.say(f"{table.out}: {before:,} images are answered; going on behind them")
    if not table.to_stdout:
        table.file.open()
    try:
        with display.counting(total, "images") as show:
            show(done, unread)
            answers = answer(paths)
            while some := list(islice(answers, table.at_once)):
                table.write(some)
                errors = [one.error for one in some if one.error]
                done, unread = done + len(some), unread + len(errors)
                for error in errors[: max(0, MAX_NAMED - named)]:
                    print(f"reprogram: {printable(error)}", file=sys.stderr)
                named += len(errors)
                show(done, unread)
        if not table.to_stdout:
            table.file.finish()
    finally:
        table.file.close()
    if named > MAX_NAMED:
        print(f"reprogram: {named - MAX_NAMED:,} more can't be read; the column error says why", file=sys.stderr)
    return {"images": done, "before": before, "unread": unread}


def row_of(answer: "FileAnswer", program: str) -> dict[str, Any]:
    """The row of an answer.

    Args:
        answer: to one image.
        program: the digest of the program.
    """
    top: dict[str, Any] = answer.host[0] if answer.host else {"label": None, "probability": None}
    return {
        "image": as_utf8(str(answer.path)),
        "label": answer.label or None,
        "probability": _number(answer.probability),
        "host_label": top["label"],
        "host_probability": _number(top["probability"]),
        "error": printable(answer.error) or None,
        "program": program,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(f"{value:.{DIGITS}g}")
