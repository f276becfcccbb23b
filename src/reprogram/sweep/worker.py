"""One attempt at a cell, in a worker."""

import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reprogram.errors import FolderInUseError, ReprogramError
from reprogram.fitting import Report as Step
from reprogram.runconfig import RunConfig
from reprogram.runs import execute
from reprogram.sweep.workshop import Workshop

TELL_EVERY_S = 0.5
PATIENCE_S = 30.0
"""How long a worker waits for a folder in which one that is thought to be lost still works."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker says, or what is said of it.

    Attributes:
        kind: "ready" for a cell, "running" it, "finished" or "failed" with it; or the worker itself is "lost".
        text: where it is when it's ready; else why it failed or was lost.
        details: lines for who looks for a fault in the program.
        fraction: of the cell's budget that is spent.
        accuracy: of validation while it runs, of the test at the end.
    """

    kind: Literal["ready", "running", "finished", "failed", "lost"]
    text: str = ""
    details: str = ""
    fraction: float = 0.0
    accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def attempt(config: RunConfig, threads: int, workshop: Workshop, tell: Callable[[Report], None]) -> Report:
    """Run a cell; whatever goes wrong with it is reported.

    Args:
        config: of the cell.
        threads: of this process, for the command that the result names.
        workshop: where host and task come from.
        tell: told now and then how it goes.

    Raises:
        SystemExit: SIGTERM came; the cell's state is saved.
    """
    last = 0.0

    def observe(step: Step) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            accuracy = step.validation.accuracy if step.validation else None
            tell(Report(kind="running", fraction=step.fraction, accuracy=accuracy))

    command = f"reprogram fit --config {config.folder / 'config.toml'} --threads {threads}"
    begun = time.monotonic()
    while True:
        try:
            result = execute(config, observe=observe, command=command, loader=workshop)
            return Report(kind="finished", fraction=1.0, accuracy=result["test"]["accuracy"])
        except FolderInUseError as error:
            if time.monotonic() - begun > PATIENCE_S:
                return Report(kind="failed", text=str(error))
            time.sleep(0.2)
        except ReprogramError as error:
            workshop.forget()
            return Report(kind="failed", text=str(error))
        except Exception as error:
            workshop.forget()
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(str(error).split())[:500]
            text = f"{type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno})"
            return Report(kind="failed", text=text, details=traceback.format_exc())


def config_from(values: dict[str, Any]) -> RunConfig:
    """A configuration from its values as JSON gives them."""
    return RunConfig(**{**values, "baselines": tuple(values["baselines"])})
