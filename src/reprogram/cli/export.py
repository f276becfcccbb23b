"""`reprogram export`: a program with its host as a file that other runtimes run."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli.console import LINE_EVERY_S, Common, Display, emit
from reprogram.errors import ConfigError
from reprogram.utils.process import start_torch
from reprogram.utils.text import printable

if TYPE_CHECKING:
    from reprogram.tasks.base import Task
    from reprogram.types import SampleSize


def export_command(
    program_file: Path,
    /,
    *,
    out: Path,
    to: Annotated[str, Parameter(completer=components("exporters"))] = "",
    pixels: Literal["uint8", "float32"] = "uint8",
    host_top: int = 0,
    task: Annotated[str | None, Parameter(completer=components("tasks"))] = None,
    data: str = "",
    test_images: str = "all",
    max_batch: int = 64,
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    any_host: bool = False,
    download: bool = False,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    common: Common | None = None,
) -> int:
    """Write the whole way from task images to task scores as one file, which needs nothing of this package.

    The file is run by its own runtime first, and gets its name only if it answers as the program does.

    Args:
        program_file: written by fit, or the folder of its run.
        out: the file to write; its suffix is the format's own.
        to: the format: onnx, pt2 or openvino, with options such as onnx(opset=20); by default that of the suffix.
        pixels: the type of the images that the file takes, uint8 levels or float32 numbers in [0, 1].
        host_top: how many of the host's own top answers the file gives too.
        task: spec of the task whose test images are compared; by default the one that the program names, where its
            data are at hand, else made images.
        data: folder of the task's files, for tasks that take one.
        test_images: how many of the test images are compared, "all" or a number.
        max_batch: the largest batch that the file is tried on.
        host: the host, where it isn't the one that the file names.
        any_host: go on, with a warning, on another host than the program was learned for.
        download: allow fetching weights and data.
        overwrite: replace a file that is there.
        common: options of every verb.
    """
    common = common or Common()
    start_torch(common.threads)
    from reprogram.exporters._export import export

    display = Display(common.quiet)
    with _warnings_shown(display):
        result = export(
            program_file,
            out,
            to=to,
            pixels=pixels,
            host_top=host_top,
            host=host,
            any_host=any_host,
            download=download,
            task=_task(task, data, download),
            test_images=_count(test_images),
            max_batch=max_batch,
            overwrite=overwrite,
            on_progress=_progress(display),
        )
    for note in result.notes:
        display.say(f"note: {note}")
    if common.json:
        emit(result.to_json())
    else:
        print(printable(str(result)))
    return 0


def _progress(display: Display) -> Callable[[str], None]:
    """A function that shows each stage at once, and the number of images now and then."""
    last = time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        if not text[0].isdecimal() or time.monotonic() - last > LINE_EVERY_S:
            last = time.monotonic()
            display.say(f"       {text}")

    return show


def _task(spec: str | None, data: str, download: bool) -> "Task | str | None":
    """The task whose images are compared; it is loaded here only where it has a folder of its own."""
    from reprogram.tasks._factory import load_task

    if not data:
        return spec
    if spec is None:
        raise ConfigError("--data is the folder of a task's files; give --task too")
    return load_task(spec, data=data, download=download)


def _count(text: str) -> "SampleSize":
    """The number that --test-images gives."""
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"--test-images {text}; a whole number or 'all' is expected")
    return int(text)


@contextlib.contextmanager
def _warnings_shown(display: Display) -> Iterator[None]:
    """A context after which the warnings for users that it met are shown, a line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        if warning.category is UserWarning:
            display.say(f"warning: {warning.message}")
