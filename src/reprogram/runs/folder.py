"""A run's folder: the process that owns it, the files in it, and whether they are whole."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError, DataError, WriteError
from reprogram.runs.asked import AskedLog
from reprogram.runs.config import MARK, RunConfig, read_toml, to_toml
from reprogram.training.checkpoint import Checkpoint
from reprogram.training.options import current_name, current_names
from reprogram.utils.files import (
    exists,
    is_folder,
    read_json,
    read_ordinary,
    remove_strays,
    require_writable,
    write_atomic,
)
from reprogram.utils.lock import locked


class RunFolder:
    """The files of one run. `result.json` is written last: where it is there, all the others are whole.

    Args:
        path: the folder, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "lock"
        self.config = path / "config.toml"
        self.times = path / "run.json"
        self.checkpoint = path / "checkpoint.safetensors"
        self.answers = path / "answers.sqlite"
        self.asked = path / "asked.txt"
        self.tracking = path / "tracking.json"
        self.events = path / "tensorboard"
        self.history = path / "history.jsonl"
        self.program = path / "program.safetensors"
        self.examples = path / "examples.json"
        self.predictions = path / "predictions.csv"
        self.report = path / "report.html"
        self.result = path / "result.json"
        self._rows_written = 0
        self._began = _now()

    @property
    def files(self) -> tuple[Path, ...]:
        """The paths of all files that a run writes, but for the lock."""
        states = (self.checkpoint, Checkpoint(self.checkpoint).previous)
        written = (self.program, self.predictions, self.examples, self.report, self.result)
        return (self.config, self.times, *states, *self._answer_files, self.tracking, self.history, *written)

    @property
    def _answer_files(self) -> tuple[Path, ...]:
        """The database of the host's answers, and the files that a killed process leaves beside it."""
        return tuple(self.answers.with_name(self.answers.name + end) for end in ("", "-wal", "-shm"))

    @property
    def is_kept(self) -> bool:
        """Whether it holds a finished run where nobody may write."""
        return exists(self.result) and not os.access(self.path, os.W_OK)

    def remove_answers(self) -> None:
        """Remove the answers of the host, which a finished run doesn't need."""
        for path in self._answer_files:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """In the block, be the only process that works in this folder.

        Temporary files of killed processes are removed first. A folder that was made for the block and is empty at its
        end is removed. A finished run where nobody may write belongs to no process.

        Raises:
            FolderInUseError: another process works in the folder; names its id.
            DataError: the folder can't be made or written.
        """
        if self.is_kept:
            yield
            return
        new_folders = [folder for folder in (self.path, *self.path.absolute().parents) if not exists(folder)]
        self._make()
        try:
            with locked(self.lock):
                remove_strays(self.path)
                yield
        finally:
            with contextlib.suppress(OSError):  # The first folder that isn't empty ends the loop.
                for folder in new_folders:
                    folder.rmdir()

    def _make(self) -> None:
        require_writable(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.path}: can't be made ({error.strerror}); choose another --out") from None

    def prepare(self, config: RunConfig) -> str:
        """Check that the folder is free for a run, or holds that run.

        Args:
            config: the run's configuration.

        Returns:
            "new", "interrupted" or "finished".

        Raises:
            ConfigError: the folder holds something else; names the first option that differs.
        """
        if not exists(self.config):
            foreign = [path.name for path in self.files if exists(path)]
            if foreign:
                raise ConfigError(f"{self.path}: holds a {foreign[0]} of something else; choose another --out")
            return "new"
        if not self._config_text().startswith(MARK.encode()):
            raise ConfigError(
                f"{self.config}: isn't the configuration of a run, and would be overwritten; choose another --out"
            )
        has_learned = any(exists(path) for path in self.files if path not in (self.config, self.times))
        if not has_learned and not AskedLog(self.asked).counts:
            return "new"  # That run ended before it had learned anything, such as for a misspelt option.
        state = "finished" if exists(self.result) else "interrupted" if has_learned else "new"
        folder_config = self.read_config()
        values, folder_values = config.stored(), folder_config.stored()
        decisive = {**config.identity(), **folder_config.identity()}
        decisive["loss"] = decisive.pop("loss")  # "auto" follows the label map, which is named first where both differ.
        for key in (*decisive, "baselines") if state == "finished" else decisive:
            if folder_values[key] != values[key]:
                article = "a finished" if state == "finished" else "an interrupted"
                advice = "or remove the folder" if state == "finished" else "or give the same configuration to go on"
                option = current_name(RunConfig, key)
                raise ConfigError(
                    f"{self.path}: holds {article} run with {option}={getattr(folder_config, option)!r}, "
                    f"not {getattr(config, option)!r}; choose another --out, {advice}"
                )
        return state

    def _config_text(self) -> bytes:
        try:
            return read_ordinary(self.config)
        except OSError as error:
            raise ConfigError(
                f"{self.config}: can't be read ({error.strerror or error}); choose another --out"
            ) from None

    def read_config(self) -> RunConfig:
        """The configuration that the folder holds.

        Raises:
            ConfigError: there is no configuration, or it is damaged.
        """
        self._config_text()
        values = current_names(RunConfig, read_toml(self.config))
        options = {f.name: values[f.name] for f in fields(RunConfig) if f.name in values}
        try:
            return RunConfig(**{**options, "baselines": tuple(options.get("baselines", ()))})
        except TypeError as error:
            raise ConfigError(f"{self.config}: damaged ({error}); choose another --out") from None

    def read_result(self) -> dict[str, Any]:
        """The result of a finished run.

        Raises:
            DataError: the file can't be read.
        """
        try:
            result: dict[str, Any] = read_json(self.result)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{self.result}: can't be read ({reason}); remove the folder and run it again") from None
        return result

    def begin(self, config: RunConfig) -> None:
        """Write the configuration, as resolved, and note that the run goes on; the time of its first start stays.

        Args:
            config: the run's configuration.

        Raises:
            WriteError: a file can't be written.
        """
        write_atomic(self.config, to_toml(config).encode())
        began = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            began = read_json(self.times).get("began")
        self._note(began or _now(), None, "")

    def end(self, error: str = "") -> None:
        """Note that the run has ended.

        Args:
            error: why the run failed; empty where it didn't fail.

        Raises:
            WriteError: the file can't be written.
        """
        self._note(self._began, _now(), error)

    def forget(self) -> bool:
        """Remove what `begin` and trackers wrote, where nothing else is in the folder; whether that was so."""
        begun = (self.config, self.times, self.tracking)
        with contextlib.suppress(OSError):
            if {*self.path.iterdir()} <= {*begun, self.lock, self.events}:
                self._remove_events()
                for path in begun:
                    path.unlink(missing_ok=True)
                return True
        return False

    def _note(self, began: str, ended: str | None, error: str) -> None:
        self._began = began
        times = {"began": began, "ended": ended, "error": error or None}
        write_atomic(self.times, (json.dumps(times, indent=2) + "\n").encode())

    def append_history(self, rows: Sequence[dict[str, float]]) -> None:
        """Write the new rows of a run's history to `history.jsonl`, a line for each validation.

        Args:
            rows: all rows so far; those that this process has written before are skipped.

        Raises:
            WriteError: the file can't be written.
        """
        new_rows = rows[self._rows_written :]
        if not new_rows:
            return
        text = "".join(json.dumps(row) + "\n" for row in new_rows)
        if self._rows_written:
            try:
                with self.history.open("a", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                raise WriteError(f"{self.history}: can't be written ({error.strerror}); free some space") from None
        else:  # This process's first rows replace the file: a killed process may have written half a line.
            write_atomic(self.history, text.encode())
        self._rows_written = len(rows)

    def _remove_events(self) -> None:
        """Remove the event files of TensorBoard, and their folder where nothing else is in it."""
        if not self.events.is_symlink() and is_folder(self.events):
            for path in self.events.glob("events.out.tfevents.*"):
                path.unlink()
            if not any(self.events.iterdir()):
                self.events.rmdir()

    def remove(self) -> list[str]:
        """Remove a run's files, its configuration last, and the folder where nothing else is in it.

        Returns:
            The names of the other files in the folder, which stay.

        Raises:
            ConfigError: a process works in the folder; names its id.
            WriteError: a file can't be removed.
        """
        if not os.access(self.path, os.W_OK):
            raise WriteError(
                f"{self.path}: may not be written, so nothing of it can be removed; change its permissions"
            )
        try:
            with self.owned():
                for path in (self.asked, *reversed(self.files)):
                    path.unlink(missing_ok=True)
                self._remove_events()
            others = sorted(path.name for path in self.path.iterdir())
            if not others:
                self.path.rmdir()
        except OSError as error:
            raise WriteError(f"{error.filename}: can't be removed ({error.strerror}); remove it yourself") from None
        return others


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
