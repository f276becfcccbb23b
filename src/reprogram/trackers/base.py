"""The protocol by which a run is followed in a tool: numbers and pictures as they come, the result in the end."""

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import UInt8

from reprogram.errors import ConfigError
from reprogram.hosts._consent import checked_url
from reprogram.registry import Component

Pixels = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker is told when a run begins.

    Attributes:
        name: of the run.
        folder: the run's folder; the current one for a run without a folder.
        config: the run's options, JSON values by name.
        id: what the tracker called the run before it was interrupted; empty for a new run.
        step: the step that the run goes on from; what was told of later ones counts no more.
    """

    name: str
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    step: int = 0


class Tracker(Component):
    """A tool that runs are followed in.

    Steps are training images seen. An error in any method ends the tracking, and never the run. A tracker that sends
    anything to another machine names its URL in `destination`, and does so only where the user has agreed.

    Attributes:
        package: the package that has to be installed, as it is imported.
        extra: the extra of this project that installs it.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()

    def check(self) -> None:
        """Refuse what can't work, before anything is learned.

        Raises:
            ConfigError: the package isn't installed, or the user hasn't agreed to the destination.
        """
        if self.package and importlib.util.find_spec(self.package) is None:
            raise ConfigError(
                f"--track {self.name()}: the package {self.package} isn't installed; "
                f"pip install 'reprogram[{self.extra or self.package}]'"
            )
        if url := self.destination():
            parts = urlsplit(url)
            checked_url(f"{parts.scheme}://{parts.netloc}", f"--track {self.name()}")

    def destination(self) -> str:
        """The URL of the server that the run is sent to; empty where it stays on this machine."""
        return ""

    def begin(self, run: TrackedRun) -> str:
        """Begin a run, or go on with one.

        Args:
            run: its name, folder and options.

        Returns:
            What the tool calls the run, by which it is gone on with.
        """
        raise NotImplementedError

    def where(self) -> str:
        """Where the run is seen, for people."""
        return self.name()

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Keep numbers of a step.

        Args:
            values: by name, such as `learning/loss`.
            step: training images seen.
        """
        raise NotImplementedError

    def picture(self, name: str, pixels: Pixels, step: int) -> None:
        """Keep a picture of a step.

        Args:
            name: of the picture, such as `program`.
            pixels: H × W × 3, 8 bits.
            step: training images seen.
        """
        raise NotImplementedError

    def result(self, values: dict[str, float], document: dict[str, Any], step: int) -> None:
        """Keep the result of the run.

        Args:
            values: accuracies, baselines and the program's worth, by name.
            document: the whole result, JSON values.
            step: training images seen.
        """
        raise NotImplementedError

    def end(self, *, failed: bool) -> None:
        """End the run.

        Args:
            failed: whether it was interrupted, or failed.
        """


def variable(name: str) -> str:
    """The value of an environment variable, without spaces; empty where it isn't set.

    Args:
        name: of the variable.
    """
    return os.environ.get(name, "").strip()
