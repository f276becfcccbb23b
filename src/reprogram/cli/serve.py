"""`reprogram serve`: programs as a service over HTTP."""

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli._flags import flags_of
from reprogram.cli.console import Common, Display, emit
from reprogram.errors import ConfigError
from reprogram.serving.options import NAME, ServeOptions
from reprogram.types import Precision
from reprogram.utils.files import exists, is_folder
from reprogram.utils.process import start_torch

if TYPE_CHECKING:
    from reprogram.hosts.base import Host
    from reprogram.model import Reprogrammed
    from reprogram.serving.answering import Detector

STOPPED_EARLY = 143
Flags = flags_of(ServeOptions)


def serve_command(
    *programs: str,
    options: Flags | None = None,  # type: ignore[valid-type]
    samples: Path | None = None,
    detector: Annotated[
        list[str] | None, Parameter(consume_multiple=True, negative=(), completer=components("detectors"))
    ] = None,
    detector_state: Path | None = None,
    log_requests: Annotated[bool, Parameter(negative=())] = False,
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    any_host: bool = False,
    download: bool = False,
    engine: Literal["shared", "dense"] = "shared",
    precision: Precision = "float32",
    common: Common | None = None,
) -> int:
    """Answer over HTTP what images are: several programs on one host, and the host itself.

    Clients use the Open Inference Protocol v2 or post an image file; people open the address in a browser. A bearer
    token is asked for where the variable MODEL_SERVER_TOKEN is set. SIGTERM or Ctrl-C ends the server once everything
    that it accepted is answered.

    Args:
        programs: program files or run folders, perhaps with a name before them: digits=runs/a/program.safetensors.
        options: how the programs are served.
        samples: folder of images that the page offers.
        detector: specs of detectors, or files that reprogram detect --state wrote: they read the images that the host
            itself is sent.
        detector_state: folder from which detectors go on after a restart; they write there what they remember, each
            minute and in the end.
        log_requests: write a line for each request to stderr.
        host: the host, where it isn't the one that the files name.
        any_host: go on, with a warning, on another host than the programs were learned for.
        download: allow fetching weights.
        engine: compute what the images share once, or every image whole.
        precision: the type that the host computes in; auto is bfloat16 where the device multiplies it in hardware.
        common: options of every verb.
    """
    import logging

    common = common or Common()
    if not programs:
        raise ConfigError("serve: no programs; give program files or run folders")
    from reprogram.serving.run import require_extra, serve

    given = {name: value for name, value in dataclasses.asdict(options or Flags()).items() if value is not None}
    settings = ServeOptions(**given)
    files = _named(programs)
    require_extra()
    start_torch(common.threads)
    from reprogram.evaluation.precision import set_precision
    from reprogram.serving.server import log_to_stderr

    display = Display(common.quiet)
    models, versions = _loaded(files, host, download, any_host, common.device, display)
    first = next(iter(models.values()))
    first.host.engine = engine
    set_precision(first, precision)
    log_to_stderr(logging.DEBUG if log_requests else logging.WARNING)

    with _detectors(detector or [], detector_state) as hooks:
        whole = serve(
            models,
            versions=versions,
            samples=samples,
            detectors=hooks,
            on_start=_starts(models, settings.address, common),
            say=display.say,
            **given,
        )
    display.say("stopped; everything that was accepted is answered" if whole else "stopped at once")
    return 0 if whole else STOPPED_EARLY


def _starts(models: "Mapping[str, Reprogrammed]", address: str, common: Common) -> Callable[[object, int], None]:
    """A function that says where a server listens, once it does."""

    def say(_: object, port: int) -> None:
        url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
        Display(common.quiet).say(f"serving {', '.join(models)} and their host at {url} (Ctrl-C stops)")
        if common.json:
            emit({"url": url, "port": port, "models": [*models, "host"]})
            sys.stdout.flush()

    return say


@contextlib.contextmanager
def _detectors(specs: list[str], state: Path | None) -> "Iterator[list[Detector]]":
    """The hooks of detectors; those that need more than the host's scores are refused."""
    if not specs:
        if state is not None:
            raise ConfigError("--detector-state keeps what detectors remember; name them with --detector")
        yield []
        return
    from reprogram.serving.detection import Watch
    from reprogram.serving.remembered import remembered

    watch = Watch(specs)
    if wrong := [one.name() for one in watch.detectors if one.reads not in ("image", "scores")]:
        raise ConfigError(f"serve: the detector {wrong[0]} reads the host's features, which serving doesn't compute")
    with remembered(watch, state) if state is not None else contextlib.nullcontext():
        yield [watch.see]


def _named(programs: tuple[str, ...]) -> dict[str, Path]:
    """The program files by the names under which they are served."""
    files: dict[str, Path] = {}
    for text in programs:
        name, equals, rest = text.partition("=")
        is_named = bool(equals and rest and NAME.fullmatch(name)) and not exists(text)
        path = Path(rest if is_named else text)
        path = path / "program.safetensors" if is_folder(path) else path
        if not is_named:
            stem = path.resolve().parent.name if path.stem == "program" else path.stem
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "program"
        if name == "host" or name in files:
            taken = "is the host's own" if name == "host" else f"is that of {files[name]}"
            raise ConfigError(f"serve: {path}: the name {name!r} {taken}; give another one: NAME={path}")
        files[name] = path
    return files


def _loaded(
    files: dict[str, Path], host: str | None, download: bool, any_host: bool, device: str | None, display: Display
) -> "tuple[dict[str, Reprogrammed], dict[str, str]]":
    """The models, and the beginnings of their digests. Models whose files name one host share it."""
    from reprogram.cli.predict import open_program
    from reprogram.programfile import file as programfile

    models: dict[str, Reprogrammed] = {}
    versions: dict[str, str] = {}
    hosts: dict[str, Host] = {}
    for name, path in files.items():
        header = programfile.read(path).header
        named = host or header.host.id
        models[name] = open_program(path, hosts.get(named, host), download, any_host, device, display)
        hosts[named] = models[name].host
        versions[name] = header.digest.rpartition(":")[2][:12]
    return models, versions
