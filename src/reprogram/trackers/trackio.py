"""Trackio: a run of a project, in Trackio's database on this machine."""

from dataclasses import dataclass
from typing import Any

from reprogram.registry import EmptyConfig
from reprogram.trackers.base import Pixels, TrackedRun, Tracker, variable


class Trackio(Tracker):
    """A run of Trackio, in its database on this machine; `trackio show` shows it.

    Needs `pip install 'reprogram[trackio]'`. Where `TRACKIO_SPACE_ID` or `TRACKIO_SERVER_URL` is set, Trackio sends
    options, numbers, pictures and the result there, after `--i-am-authorised HOST` (huggingface.co for a Space).
    """

    package = extra = "trackio"

    @dataclass(frozen=True, kw_only=True)
    class Config(EmptyConfig):
        """Options.

        Attributes:
            project: the project's name.
        """

        project: str = "reprogram"

    _run: Any = None

    def destination(self) -> str:
        """The URL of the Space's hub or of the server that the environment names."""
        if variable("TRACKIO_SPACE_ID"):
            return variable("HF_ENDPOINT") or "https://huggingface.co"
        return variable("TRACKIO_SERVER_URL")

    def begin(self, run: TrackedRun) -> str:
        """Begin; see `Tracker.begin`.

        Args:
            run: as there.
        """
        import trackio

        self._trackio = trackio
        self._run = trackio.init(
            project=self.config.project,
            name=run.id or run.name,
            resume="allow" if run.id else "never",
            config=run.config,
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        return str(self._run.name)

    def where(self) -> str:
        """Where the run is seen."""
        return (
            f"Trackio project {self.config.project}, run {self._run.name}; "
            f"see it with: trackio show --project {self.config.project}"
        )

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Keep numbers; see `Tracker.numbers`.

        Args:
            values: as there.
            step: as there.
        """
        self._run.log(values, step=step)

    def picture(self, name: str, pixels: Pixels, step: int) -> None:
        """Keep a picture; see `Tracker.picture`.

        Args:
            name: as there.
            pixels: as there.
            step: as there.
        """
        self._run.log({name: self._trackio.Image(pixels)}, step=step)

    def result(self, values: dict[str, float], document: dict[str, Any], step: int) -> None:
        """Keep the result; see `Tracker.result`.

        Args:
            values: as there.
            document: its values alone are kept: Trackio has no place for a document.
            step: as there.
        """
        self.numbers({f"result/{name}": value for name, value in values.items()}, step)

    def end(self, *, failed: bool) -> None:
        """End the run; Trackio writes what it still has.

        Args:
            failed: has no effect.
        """
        if self._run is not None:
            self._run.finish()
