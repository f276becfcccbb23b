"""The file that holds a run's state between two steps, and how often it is written."""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprogram.errors import ConfigError, DataError
from reprogram.utils.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

LONG_S = 1.0
"""After a step of so many seconds the state is saved at once, so that a signal in the next step doesn't cost it."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How often a run's state is saved.

    Attributes:
        steps: steps between two saves; None where seconds count.
        seconds: seconds between two saves; None where steps count.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str | int) -> "Interval":
        """Read an interval.

        Args:
            text: steps such as `100`, or seconds such as `30s`.

        Raises:
            ConfigError: the text is neither.
        """
        number, unit = (str(text)[:-1], "s") if str(text).endswith("s") else (str(text), "")
        with contextlib.suppress(ValueError):
            if unit and 0 < float(number) < float("inf"):
                return cls(seconds=float(number))
            if not unit and int(number) > 0:
                return cls(steps=int(number))
        raise ConfigError(f"checkpoint_every={text!r}; steps such as 100, or seconds such as 30s, are expected")

    def is_over(self, steps: int, seconds: float) -> bool:
        """Whether the interval has passed since the last save.

        Args:
            steps: steps since then.
            seconds: seconds since then.
        """
        return steps >= self.steps if self.steps is not None else seconds >= (self.seconds or 0.0)


class Checkpoint:
    """The two files that hold a run's latest state and the one before it, each as tensors and a JSON record.

    The latest state lies at `path`. The one before it stays at `previous`; it is read where the latest is damaged or,
    after a crash between two renames, missing. Each file carries a digest of all it holds.

    Args:
        path: the file of the latest state.

    Attributes:
        note: after `load`, a message where the previous state was read, and why; else empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous = path.with_name(f"{path.stem}.previous{path.suffix}")
        self.note = ""
        self._latest_is_whole = False

    def save(self, tensors: "dict[str, Tensor]", record: dict[str, Any]) -> None:
        """Write a new latest state.

        Args:
            tensors: the state's tensors, by name.
            record: the rest of the state, as JSON values.

        Raises:
            WriteError: the file can't be written; both files are as before.
        """
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        text = json.dumps(record)
        content = save(tensors, {"record": text, "digest": _digest(tensors, text)})
        write_atomic(self.path, content, keep=self.previous if self._latest_is_whole else None)
        self._latest_is_whole = True

    def load(self) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """The latest state that is whole: its tensors and its record; None where no file is there.

        Raises:
            DataError: files are there, but none of them is whole.
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
            files = " and ".join(str(path) for path in (self.path, self.previous) if os.path.lexists(path))
            raise DataError(f"{reasons[0]}; remove {files}, and start again")
        return None

    def remove(self) -> None:
        """Remove both files."""
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
