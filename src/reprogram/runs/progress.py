"""How far a run is, over all of its parts: learning, validations, the test and the baselines."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from reprogram.hosts.base import Host
from reprogram.runs.forecast import LEARNING, TEST, VALIDATIONS, Forecast
from reprogram.training.results import FitProgress

Watcher = Callable[[FitProgress], None]


class RunProgress:
    """Tells a watcher how far a run is, and what time is left for all of it.

    The time left is made of what is left to do and of the speeds of the forecast. Learning and validations have their
    own speeds as soon as they are under way. How much slower or faster validations, or else the last finished part,
    were than the forecast said is expected of all later parts too.

    Args:
        forecast: what the run asks of its host; None where nothing was counted: then no time left is told.
        watcher: called as `reprogram.fit` calls its `on_progress`, and after each call of the host in a later part.
    """

    def __init__(self, forecast: Forecast | None, watcher: Watcher | None) -> None:
        self.forecast, self.watcher = forecast, watcher
        self.last: FitProgress | None = None
        self.pace = 1.0

    def on_fit(self, progress: FitProgress) -> None:
        """Pass on the progress of learning, with the time left for the whole run.

        Args:
            progress: what `fit` tells.
        """
        self.last = progress
        if self.watcher is not None:
            self.watcher(replace(progress, seconds_left=self._left(progress)))

    def _left(self, progress: FitProgress) -> float | None:
        """Seconds of learning, validations and all later parts that are left; None where that isn't known."""
        if self.forecast is None:
            return progress.seconds_left
        validations, after = self.forecast.parts[VALIDATIONS], self.forecast.seconds_after(VALIDATIONS)
        train_seconds = progress.images / max(progress.images_per_s, 1e-9)
        done, images = len(progress.history), progress.validation.n if progress.validation else 0
        per_image = validations.seconds_per_image
        if done and images and per_image:
            self.pace = (progress.seconds - train_seconds) / (done * images) / per_image
        if after is None:
            return None
        if self.forecast.seconds is not None:
            return max(self.forecast.seconds - progress.seconds, 0.0) + after * self.pace
        learning = self.forecast.parts[LEARNING].images
        if learning is None or validations.seconds is None:
            return None
        begun = progress.stage_fraction if progress.stage == "validation" else 0.0
        left = max(1 - (done + begun) / self.forecast.num_validations, 0.0) * validations.seconds + after
        return max(learning - progress.images, 0) / max(progress.images_per_s, 1e-9) + left * self.pace

    @contextlib.contextmanager
    def part(self, name: str, host: Host) -> Iterator[None]:
        """In the block, the watcher is told how far a later part is.

        Args:
            name: the part's name in the forecast.
            host: the host that the part asks.
        """
        meter, start = host.meter, time.monotonic()
        before, part = meter.images, self.forecast.parts.get(name) if self.forecast is not None else None
        base = self.last or FitProgress(
            fraction=1.0, images=0, seconds=0.0, loss=0.0, validation=None, images_per_s=0.0
        )

        def told() -> None:
            if self.watcher is None:
                return
            fraction = min((meter.images - before) / part.images, 1.0) if part is not None and part.images else 0.0
            stage = "the test" if name == TEST else f"the baseline {name}"
            left = self._left_of(name, fraction, time.monotonic() - start)
            self.watcher(replace(base, fraction=1.0, stage=stage, stage_fraction=fraction, seconds_left=left))

        meter.watcher = told
        try:
            yield
        finally:
            meter.watcher = None
        if part is not None and part.seconds and meter.images > before:
            self.pace = (time.monotonic() - start) / part.seconds

    def _left_of(self, name: str, fraction: float, elapsed: float) -> float | None:
        """Seconds of a part of which a fraction is done, and of all later parts; None where that isn't known."""
        after = self.forecast.seconds_after(name) if self.forecast is not None and name in self.forecast.parts else None
        if self.forecast is None or after is None or (seconds := self.forecast.parts[name].seconds) is None:
            return None
        own = elapsed * (1 - fraction) / fraction if fraction > 0 else seconds * self.pace
        return own + after * self.pace
