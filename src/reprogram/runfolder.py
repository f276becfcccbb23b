"""A run's folder: who works in it, what it holds, and whether that is whole."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reprogram.checkpoint import Checkpoint, remove_strays, write_atomic
from reprogram.errors import ConfigError, DataError, WriteError
from reprogram.lock import locked
from reprogram.runconfig import MARK, RunConfig, read_toml, to_toml


class RunFolder:
    """The files of one run. `result.json` is written last: where it is, all the others are whole.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "lock"
        self.config = path / "config.toml"
        self.times = path / "run.json"
        self.checkpoint = path / "checkpoint.safetensors"
        self.history = path / "history.jsonl"
        self.program = path / "program.safetensors"
        self.examples = path / "examples.json"
        self.report = path / "report.html"
        self.result = path / "result.json"
        self._rows_written = 0
        self._began = _now()

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that a run writes, but for the lock."""
        states = (self.checkpoint, Checkpoint(self.checkpoint).previous)
        return (self.config, self.times, *states, self.history, self.program, self.examples, self.report, self.result)

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Be the only process that works in this folder; what a killed one was writing is removed.

        A folder that was made for this and is still empty at the end is removed.

        Raises:
            FolderInUseError: another process works in it; names its id.
            DataError: the folder can't be made or written.
        """
        absent = [place for place in (self.path, *self.path.absolute().parents) if not place.exists()]
        self._make()
        try:
            with locked(self.lock):
                remove_strays(self.path)
                yield
        finally:
            with contextlib.suppress(OSError):  # The first that isn't empty ends it.
                for place in absent:
                    place.rmdir()

    def _make(self) -> None:
        require_writable(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.path}: can't be made ({error.strerror}); choose another --out") from None

    def prepare(self, config: RunConfig) -> str:
        """Check that the folder is free for this run, or holds a part of it.

        Returns:
            "new", "interrupted" or "finished".

        Raises:
            ConfigError: it holds something else; names the first option that differs.
        """
        if not self.config.exists():
            foreign = [path.name for path in self.files if path.exists()]
            if foreign:
                raise ConfigError(f"{self.path}: holds a {foreign[0]} of something else; choose another --out")
            return "new"
        if not self.config.read_bytes().startswith(MARK.encode()):
            raise ConfigError(
                f"{self.config}: isn't the configuration of a run, and would be overwritten; choose another --out"
            )
        if not any(path.exists() for path in self.files if path not in (self.config, self.times)):
            return "new"  # It ended before it had learned anything, such as for a misspelt option.
        state = "finished" if self.result.exists() else "interrupted"
        before = self.read_config()
        decisive = {**config.identity(), **before.identity()}
        for key in (*decisive, "baselines") if state == "finished" else decisive:
            value, held = getattr(config, key), getattr(before, key)
            if held != value:
                article = "a finished" if state == "finished" else "an interrupted"
                way = "or remove the folder" if state == "finished" else "or give the same configuration to go on"
                raise ConfigError(
                    f"{self.path}: holds {article} run with {key}={held!r}, not {value!r}; choose another --out, {way}"
                )
        return state

    def read_config(self) -> RunConfig:
        """The configuration that the folder holds.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        values = read_toml(self.config)
        known = {f.name: values[f.name] for f in fields(RunConfig) if f.name in values}
        try:
            return RunConfig(**{**known, "baselines": tuple(known.get("baselines", ()))})
        except TypeError as error:
            raise ConfigError(f"{self.config}: damaged ({error}); choose another --out") from None

    def read_result(self) -> dict[str, Any]:
        """The result of a finished run.

        Raises:
            DataError: it can't be read.
        """
        try:
            result: dict[str, Any] = json.loads(self.result.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{self.result}: can't be read ({error}); remove the folder and run it again") from None
        return result

    def begin(self, config: RunConfig) -> None:
        """Keep the configuration, as resolved, and note that the run goes on; when it first did, stays.

        Raises:
            WriteError: it can't be written.
        """
        write_atomic(self.config, to_toml(config).encode())
        began = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            began = json.loads(self.times.read_bytes()).get("began")
        self._note(began or _now(), None, "")

    def end(self, error: str = "") -> None:
        """Note that the run is over, and why if it failed.

        Raises:
            WriteError: it can't be written.
        """
        self._note(self._began, _now(), error)

    def _note(self, began: str, ended: str | None, error: str) -> None:
        self._began = began
        times = {"began": began, "ended": ended, "error": error or None}
        write_atomic(self.times, (json.dumps(times, indent=2) + "\n").encode())

    def append_history(self, rows: Sequence[dict[str, float]]) -> None:
        """Bring `history.jsonl`, a line a validation, to these rows; while a run goes on only new ones are written.

        Raises:
            WriteError: it can't be.
        """
        new = rows[self._rows_written :]
        if not new:
            return
        text = "".join(json.dumps(row) + "\n" for row in new)
        if self._rows_written:
            try:
                with self.history.open("a", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                raise WriteError(f"{self.history}: can't be written ({error.strerror}); free some space") from None
        else:  # The first of this process: what a killed one wrote last may be torn.
            write_atomic(self.history, text.encode())
        self._rows_written = len(rows)

    def remove(self) -> list[str]:
        """Remove what a run wrote, its configuration last, and the folder if nothing else is in it.

        Returns:
            The names of what else is in it, which stays.

        Raises:
            ConfigError: a process works in it; names its id.
            WriteError: something can't be removed.
        """
        try:
            with self.owned():
                for path in reversed(self.files):
                    path.unlink(missing_ok=True)
            left = sorted(path.name for path in self.path.iterdir())
            if not left:
                self.path.rmdir()
        except OSError as error:
            raise WriteError(f"{error.filename}: can't be removed ({error.strerror}); remove it yourself") from None
        return left


def require_writable(folder: Path) -> None:
    """Refuse a folder that isn't there and can't be made, or that can't be written.

    Raises:
        DataError: says why.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise DataError(f"{there}: is a file, and no folder; choose another --out")
    if not os.access(there, os.W_OK):
        raise DataError(f"{folder}: can't be made in {there}, which may not be written; choose another --out")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
