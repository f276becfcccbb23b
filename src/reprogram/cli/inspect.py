"""`reprogram inspect`: the content of a program file, without loading its host."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reprogram.cli.console import emit, table

if TYPE_CHECKING:
    from reprogram.programfile.file import ProgramFile
    from reprogram.programfile.format import HostHeader

MAX_ROWS, MAX_LABELS = 50, 5
"""Task labels that are shown, and host labels of each, at the most."""


def inspect_command(program_file: Path, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Check a program file and show what it holds; its host isn't loaded.

    Args:
        program_file: written by fit, or the folder of its run.
        json: print it as JSON.
    """
    from reprogram.programfile.file import read

    file = read(program_file)
    label_map = file.adapter.label_map
    if json:
        emit(
            {
                **file.header.model_dump(mode="json", exclude_unset=True),
                "bytes": file.num_bytes,
                "tensors": {name: list(value.shape) for name, value in file.tensors.items()},
                "assignment": label_map.assignment(),
                "weights": label_map.weights(),
            }
        )
        return 0
    table([*_facts(program_file, file), *_labels(file)])
    return 0


def _facts(path: Path, file: "ProgramFile") -> list[tuple[object, ...]]:
    """Rows of the file's header and tensors."""
    from reprogram.registry import format_spec

    header, task, host, program = file.header, file.header.task, file.header.host, file.adapter.program
    size = "x".join(map(str, (host.channels, *host.size)))
    extent = "confined to the frame" if program.confined else "changes the task image too"
    return [
        ("file", f"{path}, {file.num_bytes} bytes, format {header.version}, digest {header.digest[:16]}"),
        ("task", f"{task.name}, {len(task.classes)} classes, images {'x'.join(map(str, task.shape))}"),
        ("host", f"{host.id}, fingerprint {host.fingerprint[:16]}"),
        ("host input", f"{size}, {host.num_classes} classes"),
        ("canvas", format_spec(file.adapter.canvas)),
        ("program", f"{format_spec(program)}, {extent}"),
        ("label map", format_spec(file.adapter.label_map)),
        ("created by", header.created_by),
        *header.metrics.items(),
        *(
            (name, f"{'x'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}")
            for name, value in file.tensors.items()
        ),
    ]


def _labels(file: "ProgramFile") -> list[tuple[object, ...]]:
    """A row for each of the first task labels, with the host labels that are mapped to it."""
    header, label_map = file.header, file.adapter.label_map
    weights, name_of = label_map.weights(), _columns(file)
    rows: list[tuple[object, ...]] = []
    for index, (task_label, host_labels) in enumerate(zip(header.task.classes, label_map.assignment(), strict=True)):
        if index == MAX_ROWS:
            rows.append(("", f"and {len(header.task.classes) - MAX_ROWS} more labels, which --json shows"))
            break
        shown = [name_of(label) for label in host_labels[:MAX_LABELS]]
        if weights is not None:
            shown = [f"{weight:.3f} × {name}" for name, weight in zip(shown, weights[index], strict=False)]
        num_hidden = len(host_labels) - MAX_LABELS
        more = "" if num_hidden <= 0 else " and others" if weights else f" and {num_hidden} more"
        rows.append((f"label {task_label!r}", ", ".join(shown) + more))
    return rows


def _columns(file: "ProgramFile") -> Any:
    """A function that names a column of the scores that the label map reads: a host label, maybe in a view."""
    name_of, num_labels = _host_labels(file.header.host), file.header.host.num_classes
    if file.adapter.program.num_groups == 1:
        return name_of
    return lambda column: f"{name_of(column % num_labels)} (view {column // num_labels + 1})"


def _host_labels(host: "HostHeader") -> Any:
    """A function that names a host label: as the file does, or as ImageNet, where the host has 1000."""
    if host.labels:
        return lambda index: f"host label {index}" + (f" ({host.labels[index]})" if index < len(host.labels) else "")
    if host.num_classes != 1000:
        return lambda index: f"host label {index}"
    from reprogram.hosts._imagenet import class_names

    return lambda index: f"host label {index} (ImageNet: {class_names()[index]})"
