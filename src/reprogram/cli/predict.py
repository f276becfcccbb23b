"""`reprogram predict`: task labels for ordinary image files."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reprogram.cli.console import Common, Display, emit, start_torch
from reprogram.errors import DataError
from reprogram.text import printable

if TYPE_CHECKING:
    from reprogram.model import Reprogrammed

BATCH = 32
TOP = 3


def predict_command(
    program_file: Path,
    /,
    *images: Annotated[str, Parameter(allow_leading_hyphen=True)],
    host: str | None = None,
    any_host: bool = False,
    download: bool = False,
    engine: Literal["shared", "dense"] = "shared",
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
        common: options of every verb.
    """
    common = common or Common()
    start_torch(common.threads)
    from reprogram import images as files

    paths = _paths(images)
    model = open_program(program_file, host, download, any_host, common.device, Display(common.quiet))
    model.host.engine = engine
    channels, height, width = model.task.shape
    answers, failures = [], 0
    for start in range(0, len(paths), BATCH):
        tensors, good = [], []
        for path in paths[start : start + BATCH]:
            try:
                tensors.append(files.to_tensor(files.fit(files.read(path), height, width), channels))
                good.append(path)
            except DataError as error:
                failures += 1
                print(f"reprogram: {printable(error)}", file=sys.stderr)
        if not good:
            continue
        for path, answer in zip(good, _answer(model, tensors), strict=True):
            answers.append({"image": str(path).encode(errors="replace").decode(), **answer})
            if not common.json:
                host_says = ", ".join(f"{h['label']} {h['probability']:.2f}" for h in answer["host"])
                print(
                    printable(f"{path}: {answer['label']} {answer['probability']:.3f}  (host: {host_says})"), flush=True
                )
    if common.json:
        emit(answers)
    return DataError.exit_code if failures else 0


def _paths(images: tuple[str, ...]) -> list[Path]:
    from reprogram.images import list_images

    paths: list[Path] = []
    for name in images:
        if name == "-":
            paths += [Path(line.rstrip("\r\n")) for line in sys.stdin if line.strip()]
        elif Path(name).is_dir():
            found = list_images(Path(name))
            if not found:
                raise DataError(f"{name}: the folder holds no images; give image files")
            paths += found
        else:
            paths.append(Path(name))
    if not paths:
        raise DataError("no images; give image files, a folder, or - and a list on stdin")
    return paths


def _answer(model: "Reprogrammed", tensors: list[Any]) -> list[dict[str, Any]]:
    import torch

    with torch.no_grad():
        batch = torch.stack(tensors).to(model.canvas.frame.device)
        host_scores = model.host(model.program(model.canvas(batch)))
        task = model.label_map(host_scores).softmax(dim=1).cpu()
        host = host_scores.softmax(dim=1).topk(min(TOP, host_scores.shape[1]))
    answers = []
    for row, values, indices in zip(task, host.values.tolist(), host.indices.tolist(), strict=True):
        best = int(row.argmax())
        answers.append(
            {
                "label": model.task.classes[best],
                "probability": float(row[best]),
                "host": [
                    {"label": model.host.info.label(i), "probability": p} for p, i in zip(values, indices, strict=True)
                ],
            }
        )
    return answers


def open_program(
    path: Path, host: str | None, download: bool, any_host: bool, device: str | None, display: Display
) -> "Reprogrammed":
    """Load a program with its host onto a device; warnings become notes."""
    import warnings

    from reprogram.model import load
    from reprogram.runs import resolve_device

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = load(path, host=host, download=download, any_host=any_host)
    for warning in caught:
        if warning.category is UserWarning:
            display.say(f"warning: {warning.message}")
    return model.to(resolve_device(device or "auto"))
