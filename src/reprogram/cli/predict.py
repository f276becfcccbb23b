"""`reprogram predict`: task labels for ordinary image files."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli.console import Common, Display, emit
from reprogram.cli.usage import UsageError
from reprogram.errors import DataError
from reprogram.types import Precision
from reprogram.utils.files import exists, is_folder, user_path
from reprogram.utils.process import start_torch
from reprogram.utils.text import as_utf8, counted, printable

if TYPE_CHECKING:
    from reprogram.model import Reprogrammed

BATCH = 32
"""Images that are classified at once."""


def predict_command(
    program_file: Path,
    /,
    *images: Annotated[str, Parameter(allow_leading_hyphen=True)],
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    any_host: bool = False,
    download: bool = False,
    engine: Literal["shared", "dense"] = "shared",
    precision: Precision = "float32",
    common: Common | None = None,
) -> int:
    """Say what each image is, by the task's labels, and what the host itself sees in it.

    Images that can't be read are named on stderr; the others are answered all the same, and the exit code is 3.

    Args:
        program_file: written by fit.
        images: image files and folders; - reads a list of paths from stdin, one a line.
        host: the host, where it isn't the one that the file names.
        any_host: go on, with a warning, on another host than the program was learned for.
        download: allow fetching weights.
        engine: compute what the images share once, or every image whole.
        precision: the type that the host computes in; auto is bfloat16 where the device multiplies it in hardware.
        common: options of every verb.
    """
    common = common or Common()
    start_torch(common.threads)
    from reprogram.utils import images as files

    paths = _paths(images)
    model = open_program(program_file, host, download, any_host, common.device, Display(common.quiet))
    model.host.engine, model.host.precision = engine, precision
    channels, height, width = model.task.shape
    answers, failures = [], 0
    for start in range(0, len(paths), BATCH):
        tensors, readable = [], []
        for path in paths[start : start + BATCH]:
            try:
                tensors.append(files.to_tensor(files.fit(files.read(path), height, width), channels))
                readable.append(path)
            except DataError as error:
                failures += 1
                print(f"reprogram: {printable(error)}", file=sys.stderr)
        if not readable:
            continue
        for path, answer in zip(readable, _answers(model, tensors), strict=True):
            answers.append({"image": as_utf8(str(path)), **answer})
            if not common.json:
                host_says = ", ".join(f"{h['label']} {h['probability']:.2f}" for h in answer["host"])
                print(
                    printable(f"{path}: {answer['label']} {answer['probability']:.3f}  (host: {host_says})"), flush=True
                )
    if common.json:
        emit(answers)
    return DataError.exit_code if failures else 0


def _paths(images: tuple[str, ...]) -> list[Path]:
    """The image files that the arguments name: files, folders, and - for a list on stdin.

    What is left out of a folder is counted on stderr.
    """
    from collections import Counter

    from reprogram.utils.image_files import list_images

    for name in images:
        if name.startswith("-") and name != "-" and not exists(name):
            raise UsageError(f"predict: no option {name}, and no such file; reprogram predict --help shows the options")
    paths: list[Path] = []
    left_out: Counter[str] = Counter()
    for name in images:
        if name == "-":
            paths += [Path(os.fsdecode(line)) for line in _lines_of_stdin()]
        elif is_folder(path := user_path(name, "IMAGES")):
            in_folder = list_images(path, left_out)
            if not in_folder:
                raise DataError(f"{name}: the folder holds no images; give image files")
            paths += in_folder
        else:
            paths.append(path)
    if left_out:
        print(f"reprogram: left out: {counted(left_out)}", file=sys.stderr)
    if not paths:
        raise DataError("no images; give image files, a folder, or - and a list on stdin")
    return paths


def _lines_of_stdin() -> list[bytes]:
    """The lines of stdin that aren't empty; paths are bytes, whatever the encoding of the stream."""
    if sys.stdin is None:
        raise DataError("-: stdin is closed; give a list of paths on it, one a line")
    try:
        content = sys.stdin.buffer.read()
    except (OSError, ValueError) as error:
        raise DataError(f"-: stdin can't be read ({getattr(error, 'strerror', None) or error}); give a list") from None
    return [line for line in content.splitlines() if line.strip()]


def _answers(model: "Reprogrammed", tensors: list[Any]) -> list[dict[str, Any]]:
    """The task's and the host's answer to each image: C × h × w tensors, all of the task's size."""
    import torch

    from reprogram.report.examples import host_answers

    with torch.no_grad():
        batch = torch.stack(tensors).to(model.canvas.frame.device)
        scores = model.host_scores(batch)
        task = model.label_map(scores).softmax(dim=1).cpu()
    answers = []
    for probabilities, host_answer in zip(task, host_answers(model, scores), strict=True):
        best = int(probabilities.argmax())
        label, probability = model.task.classes[best], float(probabilities[best])
        answers.append({"label": label, "probability": probability, "host": host_answer})
    return answers


def open_program(
    path: Path, host: str | None, download: bool, any_host: bool, device: str | None, display: Display
) -> "Reprogrammed":
    """Load a program with its host onto a device.

    Args:
        path: the program file.
        host: the host's spec, where it isn't the one that the file names.
        download: whether weights that aren't here may be fetched.
        any_host: whether another host than the program was learned for is accepted, with a warning.
        device: the device, such as `cuda:1`; None for the best there is.
        display: prints the warnings.

    Raises:
        ProgramFileError: the file is damaged or refused.
        HostMismatchError: the program was learned for another host.
        HostUnavailableError: weights or packages of the host aren't here.
    """
    import warnings

    from reprogram.model import load
    from reprogram.utils.process import resolve_device

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = load(path, host=host, download=download, any_host=any_host)
    for warning in caught:
        if warning.category is UserWarning:
            display.say(f"warning: {warning.message}")
    return model.to(resolve_device(device or "auto"))
