"""Runs followed in tools: what `--track` does, and `reprogram.Tracking` in Python."""

import contextlib
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from reprogram.model import Reprogrammed
from reprogram.programfile.pictures import map_picture, program_picture
from reprogram.programfile.without_folders import options_without_folders, result_without_folders
from reprogram.registry import configure, format_spec
from reprogram.runs.config import SPECS, RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.trackers.base import TrackedRun, Tracker
from reprogram.training.results import FitProgress
from reprogram.utils.files import read_json, write_atomic
from reprogram.utils.text import printable, slug

EVERY_S = 1.0
"""Time between two steps whose loss and speed are told."""


def trackers_of(specs: Sequence["str | Tracker"]) -> list[Tracker]:
    """The trackers that specs name, each of which can be used.

    Args:
        specs: such as `tensorboard` or `mlflow(experiment="digits")`, or trackers.

    Raises:
        ConfigError: there is no such tracker, its package isn't installed, or the user hasn't agreed that it sends
            anything to another machine.
    """
    trackers = []
    for spec in specs:
        if isinstance(spec, str):
            variant, config = configure("trackers", spec)
            spec = variant(config)
        spec.check()
        trackers.append(spec)
    return trackers


class Tracking:
    """Follows a run in tools.

    In Python:

        with reprogram.Tracking(["tensorboard"], model, name="squares") as tracking:
            reprogram.fit(model, task, on_progress=tracking.on_progress)
            tracking.finish({"test": reprogram.evaluate(model, task).to_json()})

    An error of a tool ends the tracking in it with a warning, and never the run; what tools print goes to stderr.

    Args:
        trackers: specs, or trackers; a class with the methods of `reprogram.Tracker` may be your own.
        model: whose program and label map are shown as they are learned; None for no pictures.
        name: of the run.
        folder: the run's folder; tools that keep files by run put them there, and a run that goes on there is told to
            the tools as the same. None for the current folder and a new run.
        config: the run's options, JSON values by name.
        say: called with a line where something fails, and with where the run is seen.

    Raises:
        ConfigError: there is no such tracker, its package isn't installed, or the user hasn't agreed that it sends
            anything to another machine.
    """

    def __init__(
        self,
        trackers: Sequence["str | Tracker"],
        model: Reprogrammed | None = None,
        *,
        name: str = "run",
        folder: str | Path | None = None,
        config: dict[str, Any] | None = None,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
    ) -> None:
        self.model, self.name, self.config, self.say = model, name, config or {}, say
        self._trackers = {format_spec(tracker): tracker for tracker in trackers_of(trackers)}
        self.folder = Path(folder) if folder is not None else Path()
        self._state_file = self.folder / "tracking.json" if folder is not None else None
        self._ids: dict[str, str] = {}
        self._step = self._rows = self._shown = -1
        self._told = 0.0
        self._map: Any = None

    def __enter__(self) -> Self:
        former = self._read()
        self._ids, step = former.get("ids", {}), int(former.get("images", 0))
        for spec, tracker in list(self._trackers.items()):
            run = TrackedRun(
                name=self.name, folder=self.folder, config=self.config, id=self._ids.get(spec, ""), step=step
            )
            with self._guarded(spec):
                self._ids[spec] = tracker.begin(run)
                self.say(f"tracked in {tracker.where()}")
        self._step = step if former else -1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()
        for spec, tracker in list(self._trackers.items()):
            with self._guarded(spec):
                tracker.end(failed=kind is not None)

    def on_progress(self, progress: FitProgress) -> None:
        """Tell the tools how far a run is: the argument `on_progress` of `reprogram.fit`.

        Args:
            progress: the state of the run.
        """
        if not self._trackers or progress.stage not in ("learning", "validation"):
            return
        step = int(progress.images)
        new_rows = self._new_rows(progress)
        for row in new_rows:
            values = {"validation/accuracy": row["validation_accuracy"], "validation/loss": row["validation_loss"]}
            self._numbers({**values, "learning/mean_loss": row["loss"]}, int(row["images"]))
        now = time.monotonic()
        if new_rows or (now - self._told > EVERY_S and step > self._step) or progress.fraction >= 1:
            self._told = now
            values = {"learning/images_per_s": progress.images_per_s, "learning/seconds": progress.seconds}
            self._numbers({"learning/loss": progress.loss, **values}, step)
            self._step = max(self._step, step)
        if new_rows:
            self._pictures(step)
            self._write()

    def _new_rows(self, progress: FitProgress) -> list[dict[str, float]]:
        """The validations that weren't told yet; of a run that goes on, what its tools know of counts as told."""
        if self._rows < 0:
            self._rows = sum(row["images"] <= self._step for row in progress.history)
        new, self._rows = list(progress.history[self._rows :]), len(progress.history)
        return new

    def _pictures(self, step: int) -> None:
        """Show the program, and the label map where it has changed."""
        if self.model is None or step == self._shown:
            return
        self._shown = step
        pictures = {}
        try:
            pictures["program"] = program_picture(self.model)
            label_map = map_picture(self.model.label_map)
            if self._map is None or not np.array_equal(label_map, self._map):
                pictures["label_map"] = self._map = label_map
        except Exception as error:
            self.say(f"warning: no picture of step {step}: {_line(error)}")
        for spec, tracker in list(self._trackers.items()):
            with self._guarded(spec):
                for name, pixels in pictures.items():
                    tracker.picture(name, pixels, step)

    def finish(self, result: dict[str, Any]) -> None:
        """Tell the tools the result, without the folders in its command.

        Args:
            result: as `result.json` holds it, or a part of it such as `{"test": evaluation.to_json()}`.
        """
        told = result_without_folders(result)
        for spec, tracker in list(self._trackers.items()):
            with self._guarded(spec):
                tracker.result(summary_of(told), told, max(self._step, 0))

    def _numbers(self, values: dict[str, float], step: int) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        for spec, tracker in list(self._trackers.items()):
            with self._guarded(spec):
                tracker.numbers(finite, step)

    @contextlib.contextmanager
    def _guarded(self, spec: str) -> Iterator[None]:
        """A call of a tool: what it prints goes to stderr, random numbers stay as they are, the run isn't ended."""
        numbers = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except (KeyboardInterrupt, SystemExit) as error:
            if isinstance(error, KeyboardInterrupt) or error.code in (129, 143):  # A signal's.
                raise
            self._drop(spec, error)
        except Exception as error:
            self._drop(spec, error)
        finally:
            random.setstate(numbers[0])
            np.random.set_state(numbers[1])
            torch.random.set_rng_state(numbers[2])

    def _drop(self, spec: str, error: BaseException) -> None:
        self._trackers.pop(spec, None)
        self.say(f"warning: --track {spec} failed and isn't told more; the run goes on ({_line(error)})")

    def _read(self) -> dict[str, Any]:
        """What the tools called this run, and the last step that they were told, where it goes on."""
        if self._state_file is None:
            return {}
        try:
            state = read_json(self._state_file)
            return {"ids": dict(state["ids"]), "images": int(state["images"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self) -> None:
        if self._state_file is not None and self._ids:
            with contextlib.suppress(Exception):
                write_atomic(self._state_file, json.dumps({"ids": self._ids, "images": max(self._step, 0)}).encode())


def tracking_of(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    trackers: Sequence[Tracker],
    say: Callable[[str], None],
) -> Tracking:
    """The tracking of a run in a folder; the tools are told its options, and no folders of this machine.

    Args:
        config: the run's configuration.
        folder: the run's folder.
        model: the model that is learned.
        trackers: the tools.
        say: called with each line for people.
    """
    values = {f.name: getattr(config, f.name) for f in config.option_fields()}
    options = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}
    told = options_without_folders(options, host=model.host.info.id)
    name = _name_told(folder.path.name, options, told)
    return Tracking(trackers, model, name=name, folder=folder.path, config=told, say=say)


def _name_told(name: str, options: dict[str, Any], told: dict[str, Any]) -> str:
    """The name of a run, whose folder may be called after its specs, with the folders in them."""
    for option in SPECS:
        whole, short = slug(options[option]), slug(told[option])
        for part in (whole, whole[-40:], whole[:32]) if whole != short else ():  # As runs and grids cut them.
            name = name.replace(part, short)
    return name


def summary_of(result: dict[str, Any]) -> dict[str, float]:
    """The numbers of a result: accuracies with their intervals, the baselines, and what the program is worth.

    Args:
        result: as `result.json` holds it; what isn't there is left out.

    Returns:
        Numbers by names such as `test/accuracy`, `baselines/map_alone` and `program_worth/difference`.
    """
    values: dict[str, float] = {}
    for name in ("test", "validation", "program_worth", "net_gain"):
        measured = result.get(name) or {}
        for key in ("accuracy", "difference", "n"):
            if isinstance(measured.get(key), int | float):
                values[f"{name}/{key}"] = float(measured[key])
        if measured.get("interval"):
            values[f"{name}/low"], values[f"{name}/high"] = map(float, measured["interval"])
    for name, baseline in (result.get("baselines") or {}).items():
        if baseline and isinstance(baseline.get("accuracy"), int | float):
            values[f"baselines/{name}"] = float(baseline["accuracy"])
    return values | {key: float(result[key]) for key in ("images_seen", "seconds") if key in result}


def _line(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}")[:200]
