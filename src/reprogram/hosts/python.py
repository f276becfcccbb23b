"""A function of your own file: `python:FILE:FUNCTION?size=224&outputs=labels`; never from a program file."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError, HostUnavailableError, ReprogramError
from reprogram.hosts._frozen import Outputs
from reprogram.hosts._naming import one_line
from reprogram.hosts._state import fingerprint
from reprogram.hosts.base import Host, HostSource
from reprogram.registry import format_spec
from reprogram.types import Access

STOPPED = (129, 143)
"""The codes with which the command line ends at SIGHUP and SIGTERM."""


class Python(HostSource):
    """A classifier that a Python file of your own defines: a function, a module, or a `Host` that it wrapped itself.

    The file is run, as `python FILE` would run it. So it is taken from your command line or configuration alone: a
    program file that names one is refused. A program that was learned on `Host.wrap(FUNCTION, ...)` in Python loads
    with the same options here.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options, as `Host.wrap` has them.

        Attributes:
            function: `FILE:NAME`, a file that ends with .py and a name that it defines.
            size: height and width of the images in pixels.
            channels: of the images.
            mean: subtracted from [0, 1] pixels, one value a channel; empty for none.
            std: divides the difference, one value a channel; empty for none.
            class_names: the labels; needed where outputs are top-k or labels.
            outputs: what the function gives for an image: scores, probabilities, top-k or labels.
            access: what the function gives away; by default what one call with a blank image shows.
            licence: of its weights.
            name: that the host had in `Host.wrap`.
        """

        function: str
        size: int | tuple[int, int] = 224
        channels: int = 3
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
        class_names: tuple[str, ...] = ()
        outputs: Outputs = "scores"
        access: Access | None = None
        licence: str = "unknown"
        name: str = "callable"

        def __post_init__(self) -> None:
            path, _, name = self.function.rpartition(":")
            if not path.endswith(".py") or not name.isidentifier():
                raise ConfigError(f"function={self.function!r}; FILE.py:NAME is expected")

    @classmethod
    def example(cls) -> Config:
        """A file that tests write first."""
        return cls.Config(function="example.py:classify", size=48)

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The file."""
        return [Path(config.function.rpartition(":")[0])]

    def build(self, *, download: bool = False) -> Host:
        """Run the file and wrap what it defines."""
        config = self.config
        found = _defined(*config.function.rpartition(":")[::2])
        if isinstance(found, Host):
            self._check_no_options()
            return found
        host = PythonHost.wrap(
            found,
            size=config.size,
            channels=config.channels,
            mean=config.mean or None,
            std=config.std or None,
            class_names=config.class_names or None,
            name=config.name,
            access=config.access,
            licence=config.licence,
            outputs=config.outputs,
        )
        host.info = replace(host.info, id=self.spec())
        host.wrapped_as = config.name
        return host

    def _check_no_options(self) -> None:
        """Refuse options beside a name that stands for a `Host`: it was wrapped with its own."""
        given = [f.name for f in fields(self.config) if f.name != "function"]
        given = [name for name in given if getattr(self.config, name) != getattr(type(self.config), name)]
        if given:
            raise ConfigError(
                f"python:{self.config.function}: is a Host already, and {', '.join(given)} would change nothing; give "
                "them to Host.wrap in the file"
            )

    def spec(self) -> str:
        """The spec, with the file's name instead of its path."""
        path, _, name = self.config.function.rpartition(":")
        return format_spec(Python(replace(self.config, function=f"{Path(path).name}:{name}")))

    def nameable(self) -> bool:
        """False: this source runs a file."""
        return False


class PythonHost(Host):
    """A host that was wrapped from a file.

    Attributes:
        wrapped_as: the name that it has in `Host.wrap`, by which a function without weights is known again.
    """

    wrapped_as = ""

    @property
    def fingerprint(self) -> str:
        """That of the same `Host.wrap` in Python."""
        return fingerprint(self.net, replace(self.info, id=self.wrapped_as))


@contextlib.contextmanager
def _as_a_script(file: Path) -> Iterator[None]:
    """In the block, path and arguments are those of `python FILE`; what is printed isn't taken for a result of ours.

    Afterwards all is as it was, also the current folder: paths that were given mean what they meant.
    """
    arguments, folder = sys.argv, _current_folder()
    sys.argv = [str(file)]
    sys.path.insert(0, str(file.parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.argv = arguments
        with contextlib.suppress(ValueError):  # The file may have removed it.
            sys.path.remove(str(file.parent))
        if folder is not None and _current_folder() != folder:
            os.chdir(folder)


def _current_folder() -> Path | None:
    """The current folder; None where it was removed."""
    with contextlib.suppress(OSError):
        return Path.cwd()
    return None


def _defined(path: str, name: str) -> Any:
    """What a file defines by a name."""
    file = Path(path).absolute()
    if not file.is_file():
        raise HostUnavailableError(f"python:{path}:{name}: no such file; give the path of a Python file")
    spec = importlib.util.spec_from_file_location(f"reprogram_host_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # As pickles and dataclasses expect it.
    try:
        with _as_a_script(file):
            spec.loader.exec_module(module)
    except ReprogramError:
        raise
    except SystemExit as error:
        if error.code in STOPPED:
            raise
        raise ConfigError(
            f"python:{path}:{name}: the file ends the process (SystemExit: {one_line(error)}); put what a script does "
            'under if __name__ == "__main__":'
        ) from error
    except Exception as error:  # The file may do anything.
        raise ConfigError(f"python:{path}:{name}: {type(error).__name__}: {one_line(error)}; mend the file") from error
    if not hasattr(module, name):
        raise ConfigError(f"python:{path}:{name}: the file defines no {name!r}; name a function, a module or a Host")
    return getattr(module, name)
