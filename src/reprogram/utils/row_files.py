"""Tables of rows in files that grow while they are made: CSV, JSON Lines and Parquet, each begun anew or gone on with.

A row is written whole or counts as missing: what a killed process left of its last row is cut off before others follow.
"""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from reprogram.errors import ConfigError, WriteError

Row = dict[str, Any]
CHUNK = 10_000
"""Rows of a Parquet file's row group."""


class RowFile:
    """A file of rows, by columns of text or numbers; None is an empty cell.

    Args:
        path: the file.
        columns: the type of each column, str or float, by its name.
    """

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        self.path, self.columns = path, columns
        self._file: BinaryIO | None = None
        self._end = self._mark = 0

    @property
    def _kept(self) -> Path:
        """Where the rows are while the file is made."""
        return self.path

    def head(self) -> bytes:
        """The bytes before the first row."""
        return b""

    def encode(self, row: Row) -> bytes:
        """The bytes of a row.

        Args:
            row: a value for each column.
        """
        raise NotImplementedError

    def _decode(self, raw: bytes) -> Row:
        raise NotImplementedError

    def _records(self, file: BinaryIO) -> Iterator[bytes]:
        """The bytes of each row that is whole."""
        for line in file:
            if line.endswith(b"\n"):
                yield line

    def rows(self) -> Iterator[Row]:
        """The rows that the file holds, none where there is no file; a row that was cut off isn't counted.

        Raises:
            ConfigError: the file holds something else.
            WriteError: the file can't be read.
        """
        self._end = self._mark = 0
        try:
            with self._kept.open("rb") as file:
                head = file.read(len(self.head()))
                if not self.head().startswith(head):
                    raise self._other()
                self._end = len(head) if head == self.head() else 0
                for raw in self._records(file):
                    row = self._decode(raw)
                    self._end += len(raw)
                    yield row
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(error) from None
        except (ValueError, csv.Error, StopIteration):
            raise self._other() from None

    def mark(self) -> None:
        """Remember the end of the row that `rows` gave last."""
        self._mark = self._end

    def cut(self) -> None:
        """Let the file go on behind the marked row, or behind its head where none is marked."""
        self._end = self._mark

    def open(self) -> None:
        """Make the file ready for rows after those that `rows`, read to its end, found."""
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(
                os.open(self._kept, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b"
            )
            self._file.truncate(self._end)
            self._file.seek(self._end)
            if not self._end:
                self._file.write(self.head())
        except OSError as error:
            raise self._failed(error) from None

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows, and give them to the system.

        Args:
            rows: a value for each column.
        """
        assert self._file is not None
        try:
            self._file.write(b"".join(map(self.encode, rows)))
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from None

    def finish(self) -> None:
        """Make the file complete: all rows are written."""

    def close(self) -> None:
        """Close the file; what is written stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _failed(self, error: OSError) -> WriteError:
        reason = error.strerror or error
        return WriteError(f"{self._kept}: can't be used ({reason}); the same command goes on when that is mended")

    def _other(self) -> ConfigError:
        return ConfigError(f"{self._kept}: holds something else than these rows; choose another name, or remove it")


class CsvFile(RowFile):
    """Comma-separated values as RFC 4180 describes them, in UTF-8; the first line names the columns."""

    def head(self) -> bytes:
        """The line of the columns' names."""
        return _csv_line(list(self.columns))

    def encode(self, row: Row) -> bytes:
        """A record; it has several lines where a value has.

        Args:
            row: a value for each column.
        """
        return _csv_line(["" if row[name] is None else row[name] for name in self.columns])

    def _decode(self, raw: bytes) -> Row:
        cells = next(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))
        if len(cells) != len(self.columns):
            raise ValueError(raw)
        return {name: _read_cell(cell, self.columns[name]) for name, cell in zip(self.columns, cells, strict=True)}

    def _records(self, file: BinaryIO) -> Iterator[bytes]:
        lines: list[bytes] = []
        quotes = 0
        for line in file:
            lines.append(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\r\n"):
                yield b"".join(lines)
                lines, quotes = [], 0
            elif quotes % 2 == 0 and line.endswith(b"\n"):
                raise ValueError(line)  # A record ends with \r\n: this line is no part of one, and isn't cut off.


class JsonLinesFile(RowFile):
    """A JSON object a line, in UTF-8; an empty cell is null."""

    def encode(self, row: Row) -> bytes:
        """A line.

        Args:
            row: a value for each column.
        """
        return (json.dumps({name: row[name] for name in self.columns}, ensure_ascii=False) + "\n").encode()

    def _decode(self, raw: bytes) -> Row:
        row = json.loads(raw)
        if not isinstance(row, dict) or list(row) != list(self.columns):
            raise ValueError(raw)
        return row


class ParquetFile(JsonLinesFile):
    """Apache Parquet. Its index stands at the end of the file, so rows wait in `FILE.part.jsonl` until all are there.

    Raises:
        ConfigError: the package pyarrow isn't installed.
    """

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        super().__init__(path, columns)
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise ConfigError(
                f"{path}: the package pyarrow isn't installed; pip install 'reprogram[parquet]', or write CSV"
            ) from None

    @property
    def _kept(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.jsonl")

    def rows(self) -> Iterator[Row]:
        """The rows of a file that is complete, or of one that was being made."""
        if not self._kept.exists() and self.path.exists():
            self._unpack()
        return super().rows()

    def _unpack(self) -> None:
        """Write the rows of a complete file to where they are while it is made."""
        import pyarrow
        from pyarrow import parquet

        temporary = self._kept.with_name(f".{self._kept.name}.tmp")
        try:
            with parquet.ParquetFile(self.path) as file, temporary.open("wb") as out:
                if file.schema_arrow.names != list(self.columns):
                    raise ConfigError(f"{self.path}: has other columns; choose another name, or remove it")
                for batch in file.iter_batches(CHUNK):
                    out.writelines(map(self.encode, batch.to_pylist()))
            temporary.replace(self._kept)
        except pyarrow.ArrowInvalid:
            raise ConfigError(f"{self.path}: is no Parquet file; choose another name, or remove it") from None
        except OSError as error:
            raise self._failed(error) from None
        finally:
            temporary.unlink(missing_ok=True)

    def finish(self) -> None:
        """Make the Parquet file of all rows, and remove the file in which they waited."""
        import pyarrow
        from pyarrow import parquet

        self.close()
        kinds = {str: pyarrow.string(), float: pyarrow.float64()}
        schema = pyarrow.schema([(name, kinds[kind]) for name, kind in self.columns.items()])
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        rows = super().rows()
        try:
            with parquet.ParquetWriter(temporary, schema) as writer:
                while chunk := list(islice(rows, CHUNK)):
                    writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
            temporary.replace(self.path)
            self._kept.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from None
        finally:
            temporary.unlink(missing_ok=True)


FORMATS: dict[str, type[RowFile]] = {"csv": CsvFile, "jsonl": JsonLinesFile, "parquet": ParquetFile}
"""The formats by their names, which are the files' endings."""


def row_file(path: Path, columns: Mapping[str, type], kind: str | None = None) -> RowFile:
    """A file of rows in the format that its ending names.

    Args:
        path: the file.
        columns: the type of each column, by its name.
        kind: a key of `FORMATS`, where the ending doesn't say it.

    Raises:
        ConfigError: the ending names no format, or a package for it is missing.
    """
    kind = kind or path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(f"{path}: ends in none of .{', .'.join(FORMATS)}; name it so, or say --format")
    return FORMATS[kind](path, columns)


def _csv_line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _read_cell(cell: str, kind: type) -> Any:
    return None if not cell else kind(cell)
