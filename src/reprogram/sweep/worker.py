"""One attempt at a cell, in a worker."""

import shlex
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reprogram.errors import FolderInUseError, ReprogramError
from reprogram.runs.config import RunConfig
from reprogram.runs.execute import execute
from reprogram.sweep.loader import CachedLoader
from reprogram.training.results import FitProgress as Step
from reprogram.utils.process import free_memory

TELL_EVERY_S = 0.5
"""Time between two messages about a cell's progress."""
PATIENCE_S = 30.0
"""Time that a worker waits for a run folder in which another one, thought to be lost, still works."""


@dataclass(frozen=True, kw_only=True)
class WorkerMessage:
    """A message of a worker, or of its executor about it.

    Attributes:
        kind: "ready" for a cell, "running" it, "finished" or "failed" with it; or the worker itself is "lost".
        text: the worker's process and machine when it is ready; else the reason why it failed or was lost.
        details: further lines: warnings, or for debugging a traceback.
        fraction: the part of the cell's budget that is spent, in 0 to 1.
        accuracy: on the validation split while the cell runs, on the test split at the end.
        ended: whether the worker was ended with its cell; that it is lost comes as a message of its own.
    """

    kind: Literal["ready", "running", "finished", "failed", "lost"]
    text: str = ""
    details: str = ""
    fraction: float = 0.0
    accuracy: float | None = None
    ended: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def attempt(
    config: RunConfig, threads: int, loader: CachedLoader, tell: Callable[[WorkerMessage], None]
) -> WorkerMessage:
    """Run a cell.

    Args:
        config: the cell's configuration.
        threads: the number of CPU threads of this process, for the command that the result names.
        loader: loads host and task.
        tell: called with a message about the progress, every `TELL_EVERY_S` seconds at the most.

    Returns:
        The last message about the cell; an error that stopped it is in there.

    Raises:
        SystemExit: SIGTERM came; the cell's state is saved.
    """
    free_memory()  # What the cell before took, so that other workers have it.
    last = 0.0

    def on_progress(step: Step) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            accuracy = step.validation.accuracy if step.validation else None
            tell(WorkerMessage(kind="running", fraction=step.fraction, accuracy=accuracy))

    warnings: list[str] = []

    def on_line(text: str) -> None:
        if text.startswith("warning: "):
            warnings.append(text.replace("warning: ", f"warning: {config.task}: ", 1))

    command = shlex.join(
        ["reprogram", "fit", "--config", f"{config.folder / 'config.toml'}", "--threads", f"{threads}"]
    )
    begun = time.monotonic()
    while True:
        try:
            result = execute(
                config, say=on_line, on_progress=on_progress, command=command, loader=loader, processes=threads
            )
            accuracy = result["test"]["accuracy"]
            return WorkerMessage(kind="finished", details="\n".join(warnings), fraction=1.0, accuracy=accuracy)
        except FolderInUseError as error:
            if time.monotonic() - begun > PATIENCE_S:
                return WorkerMessage(kind="failed", text=str(error))
            time.sleep(0.2)
        except ReprogramError as error:
            loader.forget()
            return WorkerMessage(kind="failed", text=str(error))
        except Exception as error:
            loader.forget()
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = " ".join(str(error).split())[:500]
            text = f"{type(error).__name__}: {reason} ({Path(where.filename).name}, line {where.lineno})"
            return WorkerMessage(kind="failed", text=text, details=traceback.format_exc())


def config_from(values: dict[str, Any]) -> RunConfig:
    """A configuration from its fields as JSON values.

    Args:
        values: the fields by name; lists stand for tuples.
    """
    return RunConfig(**{**values, "baselines": tuple(values["baselines"])})
