"""`reprogram serve`: programs as a service over HTTP."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli.console import Common, Display, Whole, emit
from reprogram.errors import ConfigError
from reprogram.serving.options import Answers, NumberKind
from reprogram.types import Precision
from reprogram.utils.files import exists, is_folder
from reprogram.utils.process import start_torch

if TYPE_CHECKING:
    from reprogram.model import Reprogrammed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
STOPPED_EARLY = 143


def serve_command(
    *programs: str,
    address: str = "127.0.0.1",
    port: Whole = 8000,
    answers: Answers = "all",
    k: Annotated[Whole, Parameter(name="--k")] = 5,
    kind: NumberKind = "probabilities",
    round_: Annotated[Whole | None, Parameter(name="--round")] = None,
    noise: float = 0.0,
    rate: float | None = None,
    batch: Whole = 32,
    queue: Whole = 256,
    max_bytes: Whole = 32 * 2**20,
    max_pixels: Whole = 25_000_000,
    stop_within: float = 120.0,
    samples: Path | None = None,
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
        address: that the server listens on; by default this machine alone can reach it.
        port: that it listens on, 0 for any that is free.
        answers: what clients see: all of logits, probabilities and labels; or as a black-box service scores, the
            numbers of all labels, topk, the first k labels with their numbers, or label, the first one without.
        k: the number of labels that topk shows.
        kind: the numbers of a black-box service.
        round_: the decimals of a black-box service's numbers.
        noise: the standard deviation of noise on a black-box service's numbers, in units of --kind.
        rate: the requests a second that a client may send, by bearer token or else by address.
        batch: the most images that are computed at once.
        queue: the most images that wait; who sends more is asked to come again.
        max_bytes: the largest body of a request.
        max_pixels: the most pixels of an image file.
        stop_within: seconds after which a stop no longer waits for answers under way.
        samples: folder of images that the page offers.
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
    from reprogram.serving.options import ServeOptions
    from reprogram.serving.run import require_extra, serve

    options: dict[str, Any] = {
        "address": address, "port": port, "answers": answers, "k": k, "kind": kind, "round": round_, "noise": noise,
        "rate": rate, "batch": batch, "queue": queue, "max_bytes": max_bytes, "max_pixels": max_pixels,
        "stop_within": stop_within,
    }  # fmt: skip
    ServeOptions(**options)
    files = _named(programs)
    require_extra()
    start_torch(common.threads)
    from reprogram.serving.server import log_to_stderr

    display = Display(common.quiet)
    models, versions = _loaded(files, host, download, any_host, common.device, display)
    first = next(iter(models.values()))
    first.host.engine, first.host.precision = engine, precision
    log_to_stderr(logging.DEBUG if log_requests else logging.WARNING)

    def started(_: object, real_port: int) -> None:
        url = f"http://{f'[{address}]' if ':' in address else address}:{real_port}"
        display.say(f"serving {', '.join(models)} and their host at {url} (Ctrl-C stops)")
        if common.json:
            import sys

            emit({"url": url, "port": real_port, "models": [*models, "host"]})
            sys.stdout.flush()

    whole = serve(models, versions=versions, samples=samples, on_start=started, say=display.say, **options)
    display.say("stopped; everything that was accepted is answered" if whole else "stopped at once")
    return 0 if whole else STOPPED_EARLY


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
    """The models, which share the first one's host, and the beginnings of their digests."""
    from reprogram.cli.predict import open_program
    from reprogram.programfile import file as programfile

    models: dict[str, Reprogrammed] = {}
    for name, path in files.items():
        shared = next(iter(models.values())).host if models else host
        models[name] = open_program(path, shared, download, any_host, device, display)
    return models, {name: programfile.read(path).header.digest.rpartition(":")[2][:12] for name, path in files.items()}
