"""`reprogram.serve`: programs on one host as a service, until it is told to stop."""

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reprogram.errors import ConfigError
from reprogram.hosts._consent import is_loopback
from reprogram.serving.options import NAME, ServeOptions
from reprogram.utils.arguments import checked
from reprogram.utils.validation import given_by_script

if TYPE_CHECKING:
    from pathlib import Path

    from reprogram.model import Reprogrammed
    from reprogram.serving.answering import Detector

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
"""The modules that the extra `serve` brings."""


def require_extra() -> None:
    """Refuse to go on without the packages of the extra `serve`.

    Raises:
        ConfigError: one isn't installed.
    """
    import importlib

    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            package = name.replace("_", "-")
            raise ConfigError(f"serve: the package {package} isn't installed; pip install 'reprogram[serve]'") from None


@contextlib.contextmanager
def collected_once() -> Iterator[None]:
    """In the block, what there is now isn't searched for garbage again, for which every request would have to wait."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@checked
def serve(
    models: "Mapping[str, Reprogrammed]",
    *,
    versions: Mapping[str, str] | None = None,
    samples: "Path | None" = None,
    detectors: "Sequence[Detector]" = (),
    on_start: Callable[[Any, int], None] = lambda server, port: None,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> bool:
    """Serve programs that share a host, and the host itself, over HTTP until a signal says to stop.

    Args:
        models: by the names under which clients ask them; all of one host.
        versions: of the models, by name; "1" by default.
        samples: folder of images that the page offers for every program.
        detectors: called with the images that the host itself is sent, with who sent them, and with its answers; such
            as `Watch(["repeated-border"]).see`.
        on_start: called with the server and its port when the first client can be answered.
        say: is told in lines where the server listens, and what its owner should know.
        options: the fields of `ServeOptions`.

    Returns:
        Whether everything that was accepted was answered before the end.

    Raises:
        ConfigError: an option is wrong, the models are of different hosts, the address can't be had, or the extra
            `serve` isn't installed.
        DataError: a sample can't be read.
    """
    require_extra()
    from reprogram.serving.accounts import VARIABLE, tokens_of_environment
    from reprogram.serving.answering import Answering
    from reprogram.serving.desk import Desk
    from reprogram.serving.samples import of_folder, of_task
    from reprogram.serving.server import listen, run

    settings: ServeOptions = given_by_script(ServeOptions, options, component="serve")
    tokens = tokens_of_environment()
    _check(models, detectors)
    if settings.on_alarm == "refuse" and not detectors:
        raise ConfigError("serve: on_alarm=refuse is what an alarm does; name the detectors that ring it")
    answering = Answering(models, {name: (versions or {}).get(name, "1") for name in models}, settings)
    if not answering.host.is_local:
        raise ConfigError(
            f"serve: {answering.host.info.id} is a service itself; serve programs of a host on this machine"
        )
    in_folder = of_folder(samples) if samples is not None else None
    every = {name: of_task(model) if in_folder is None else in_folder for name, model in models.items()}
    listening = listen(settings.address, settings.port)
    try:
        answering.warm_up()
    except BaseException:
        listening.close()
        raise
    desk = Desk(answering, settings, tokens=tokens, samples=every, detectors=detectors)
    port = listening.getsockname()[1]
    if not is_loopback(settings.address):
        who = "with a token" if tokens else f"without a token (set {VARIABLE} to ask for one)"
        say(f"warning: listens on {settings.address}: everyone who reaches this machine can ask it, {who}")
    elif tokens:
        say(f"clients need a bearer token, that of {VARIABLE}")
    with collected_once():
        return run(desk, listening, lambda server: on_start(server, port))


def _check(models: Any, detectors: Any) -> None:
    """Refuse what can't be served, or asked by its name."""
    from reprogram.model import Reprogrammed
    from reprogram.serving.answering import HOST

    if not isinstance(models, Mapping) or not models:
        raise ConfigError('serve: models by their names are expected, such as {"digits": model}')
    for name, model in models.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == HOST:
            own = ", and 'host' is the host's own" if name == HOST else ""
            raise ConfigError(
                f"serve: the name {str(name)[:80]!r}; letters, digits, '.', '_' and '-' are expected{own}"
            )
        if not isinstance(model, Reprogrammed):
            raise ConfigError(f"serve: {name}: a {type(model).__name__} is no model; load one: reprogram.load(PATH)")
    if not all(callable(detector) for detector in detectors):
        raise ConfigError('serve: detectors are called; give Watch(["repeated-border"]).see')
