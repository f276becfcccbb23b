"""Weights & Biases: a run of a project, offline unless it is asked to be online."""

from dataclasses import dataclass
from typing import Any, Literal

from reprogram.registry import EmptyConfig
from reprogram.trackers.base import Pixels, TrackedRun, Tracker, variable


class Wandb(Tracker):
    """A run of Weights & Biases. It is kept in the folder `wandb`, from where `wandb sync` uploads it when you say so.

    Needs `pip install 'reprogram[wandb]'`. With `mode="online"`, options, numbers, pictures and the result are sent to
    `WANDB_BASE_URL`, or to api.wandb.ai, after `--i-am-authorised HOST`.
    """

    package = extra = "wandb"

    @dataclass(frozen=True, kw_only=True)
    class Config(EmptyConfig):
        """Options.

        Attributes:
            project: the project's name.
            mode: whether the run stays on this machine.
        """

        project: str = "reprogram"
        mode: Literal["offline", "online"] = "offline"

    _run: Any = None

    def destination(self) -> str:
        """The service's URL where the run goes online."""
        return (variable("WANDB_BASE_URL") or "https://api.wandb.ai") if self.config.mode == "online" else ""

    def begin(self, run: TrackedRun) -> str:
        """Begin; see `Tracker.begin`.

        Args:
            run: as there.
        """
        import wandb

        self._wandb = wandb
        settings = wandb.Settings(silent=True, console="off", disable_code=True, disable_git=True, x_disable_meta=True)
        self._run = wandb.init(
            project=self.config.project,
            name=run.name,
            id=run.id or None,
            resume="allow" if run.id else None,
            mode=self.config.mode,
            config=run.config,
            settings=settings,
        )
        self._run.define_metric("*", step_metric="images")
        return str(self._run.id)

    def where(self) -> str:
        """Where the run is seen."""
        if self.config.mode == "online":
            return f"{self._run.url}"
        folder = self._run.settings.sync_dir
        return f"{folder}; nothing is sent before you say: wandb sync {folder}"

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Keep numbers; see `Tracker.numbers`.

        Args:
            values: as there.
            step: as there.
        """
        self._run.log({**values, "images": step})

    def picture(self, name: str, pixels: Pixels, step: int) -> None:
        """Keep a picture; see `Tracker.picture`.

        Args:
            name: as there.
            pixels: as there.
            step: as there.
        """
        self._run.log({name: self._wandb.Image(pixels), "images": step})

    def result(self, values: dict[str, float], document: dict[str, Any], step: int) -> None:
        """Keep the result; see `Tracker.result`.

        Args:
            values: as there.
            document: as there.
            step: as there.
        """
        self._run.summary.update({f"result/{name}": value for name, value in values.items()} | {"result": document})

    def end(self, *, failed: bool) -> None:
        """Say how the run ended.

        Args:
            failed: whether it was interrupted, or failed.
        """
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
