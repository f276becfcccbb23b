"""The contract of an exporter: it writes a captured model as a file, and runs that file by the format's own runtime."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from reprogram.errors import ConfigError
from reprogram.registry import Component

if TYPE_CHECKING:
    from torch.export import ExportedProgram

INPUT = "images"
"""The name of a file's one input."""

OUTPUTS = ("scores", "host_labels", "host_probabilities")
"""The names of a file's outputs; the last two are there where the host's own answers were asked for."""

Run = Callable[[NDArray[Any]], list[NDArray[Any]]]
"""A file that was opened by its runtime: b × c × h × w images to its outputs, in the order of `OUTPUTS`."""


class Exporter(Component):
    """A format of exported files. A variant implements `write`, `open` and `metadata`.

    Args:
        config: the variant's `Config`.

    Attributes:
        suffix: the end of its files' names.
        beside: the suffixes of further files that it always writes.
        extra: the extra that installs what it needs; empty where nothing more is needed.
        packages: the packages of that extra that it imports.
    """

    suffix: ClassVar[str] = ""
    beside: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: object) -> None:
        self.config = config

    @classmethod
    def require(cls) -> None:
        """Refuse a format whose packages aren't installed.

        Raises:
            ConfigError: one is missing; the message says how to install it.
        """
        missing = [name for name in cls.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(f"{cls.name()}: needs {' and '.join(missing)}; pip install 'reprogram[{cls.extra}]'")

    def write(self, graph: "ExportedProgram", path: Path, metadata: dict[str, str]) -> list[str]:
        """Write a captured model; files beside `path` have to begin with its name or stem.

        Args:
            graph: one input, b × c × h × w images, and outputs in the order of `OUTPUTS`; b is dynamic.
            path: the file to write, in a folder that nobody else uses.
            metadata: texts by name, which the file keeps.

        Returns:
            Lines that a user has to know, such as about a second file; none as a rule.
        """
        raise NotImplementedError

    def open(self, path: Path) -> Run:
        """Open a file by the format's own runtime.

        Args:
            path: a file that `write` wrote.

        Returns:
            A function that runs it.
        """
        raise NotImplementedError

    def metadata(self, path: Path) -> dict[str, str]:
        """The texts that a file keeps.

        Args:
            path: a file that `write` wrote.
        """
        raise NotImplementedError
