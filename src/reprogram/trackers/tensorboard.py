"""TensorBoard: event files in the run's folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogram.registry import EmptyConfig
from reprogram.trackers.base import Pixels, TrackedRun, Tracker
from reprogram.utils.files import user_path


class Tensorboard(Tracker):
    """Event files of TensorBoard in the run's folder; `tensorboard --logdir runs` shows all runs below `runs`.

    Needs `pip install 'reprogram[tensorboard]'`. Nothing leaves this machine.
    """

    package = extra = "tensorboard"

    @dataclass(frozen=True, kw_only=True)
    class Config(EmptyConfig):
        """Options.

        Attributes:
            folder: of the event files; by default `tensorboard` in the run's folder.
        """

        folder: str = ""

    _writer: Any = None

    def begin(self, run: TrackedRun) -> str:
        """Begin; see `Tracker.begin`.

        Args:
            run: as there.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._folder = user_path(self.config.folder, "folder") if self.config.folder else run.folder / "tensorboard"
        # What was told of later steps before an interruption is hidden.
        self._writer = SummaryWriter(str(self._folder), purge_step=run.step if run.id else None)
        options = "\n".join(f"| {name} | `{value}` |" for name, value in run.config.items())
        self._writer.add_text("options", f"| option | value |\n|---|---|\n{options}", run.step)
        return str(self._folder)

    def where(self) -> str:
        """Where the run is seen."""
        return f"{self._folder}; see it with: tensorboard --logdir {Path(self._folder).parent}"

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Keep numbers; see `Tracker.numbers`.

        Args:
            values: as there.
            step: as there.
        """
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, name: str, pixels: Pixels, step: int) -> None:
        """Keep a picture; see `Tracker.picture`.

        Args:
            name: as there.
            pixels: as there.
            step: as there.
        """
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def result(self, values: dict[str, float], document: dict[str, Any], step: int) -> None:
        """Keep the result; see `Tracker.result`.

        Args:
            values: as there.
            document: as there.
            step: as there.
        """
        self.numbers({f"result/{name}": value for name, value in values.items()}, step)
        self._writer.add_text("result", "```json\n" + json.dumps(document, indent=2) + "\n```", step)

    def end(self, *, failed: bool) -> None:
        """Close the event file.

        Args:
            failed: has no effect.
        """
        if self._writer is not None:
            self._writer.close()
