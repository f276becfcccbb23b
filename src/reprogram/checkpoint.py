"""Files that are either whole or not there, and the state of a run between two steps."""

import contextlib
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprogram.errors import ConfigError, DataError, WriteError

if TYPE_CHECKING:
    from torch import Tensor

LONG_S = 1.0
"""A step that took this long is saved at once: a signal in the next one would cost it."""
_writing = threading.Lock()


def write_atomic(path: Path, content: bytes, *, keep: Path | None = None) -> Path:
    """Write a file so that a crash at any moment, of the process or the machine, leaves the old one or the new one.

    Args:
        path: of the file.
        content: all of it.
        keep: where the old file goes, once the new one is whole on the disk.

    Raises:
        WriteError: it can't be; the old file is as it was, and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _writing:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(temporary, content)
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise WriteError(
                f"{path}: can't be written ({error.strerror or error}); choose another place or free some space"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def no_file_half_written(timeout_s: float) -> Iterator[None]:
    """Wait until no thread is in the middle of `write_atomic`, at the most so long."""
    held = _writing.acquire(timeout=timeout_s)
    try:
        yield
    finally:
        if held:
            _writing.release()


def remove_strays(folder: Path) -> None:
    """Remove what killed processes left of files that they were writing here; only for a folder that one owns."""
    for stray in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            stray.unlink()


def _write_whole(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Some file systems can't sync a folder.
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How often a run is saved: every so many steps, or every so many seconds."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str | int) -> "Interval":
        """Read `100`, which are steps, or `30s`.

        Raises:
            ConfigError: neither.
        """
        number, unit = (str(text)[:-1], "s") if str(text).endswith("s") else (str(text), "")
        with contextlib.suppress(ValueError):
            if unit and 0 < float(number) < float("inf"):
                return cls(seconds=float(number))
            if not unit and int(number) > 0:
                return cls(steps=int(number))
        raise ConfigError(f"checkpoint_every={text!r}; steps such as 100, or seconds such as 30s, are expected")

    def is_over(self, steps: int, seconds: float) -> bool:
        """Whether it is time, so many steps and seconds after the last save."""
        return steps >= self.steps if self.steps is not None else seconds >= (self.seconds or 0.0)


class Checkpoint:
    """Where a run's state is kept: tensors and a JSON record, in two generations.

    The latest lies at `path`; the one before it stays at `previous` and is taken where the latest is damaged or, after
    a crash between two renames, not there. Each carries a digest of all it holds.

    Args:
        path: of the latest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous = path.with_name(f"{path.stem}.previous{path.suffix}")
        self.note = ""
        """What `load` has to tell: that it took the previous state, and why."""
        self._latest_is_whole = False

    def save(self, tensors: "dict[str, Tensor]", record: dict[str, Any]) -> None:
        """Write a new latest state.

        Raises:
            WriteError: it can't be; what was there is as before.
        """
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        text = json.dumps(record)
        content = save(tensors, {"record": text, "digest": _digest(tensors, text)})
        write_atomic(self.path, content, keep=self.previous if self._latest_is_whole else None)
        self._latest_is_whole = True

    def load(self) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """The latest state that is whole; None where there is none at all.

        Raises:
            DataError: there is one, but neither it nor the one before it is whole.
        """
        reasons = []
        for path in (self.path, self.previous):
            if not os.path.lexists(path):
                continue
            try:
                state = _read(path)
            except DataError as error:
                reasons.append(str(error))
                continue
            self._latest_is_whole = path == self.path
            self.note = f"{reasons[0]}; going on from the state before it" if reasons else ""
            return state
        if reasons:
            raise DataError(f"{reasons[0]}; remove {self.path.parent} and start again")
        return None

    def remove(self) -> None:
        """Remove both states."""
        for path in (self.previous, self.path):
            path.unlink(missing_ok=True)


def _read(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = json.loads(header["record"])
        if header["digest"] != _digest(tensors, header["record"]):
            raise ValueError("its digest differs")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error})") from None
    return tensors, record


def _digest(tensors: "dict[str, Tensor]", record: str) -> str:
    import torch

    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
