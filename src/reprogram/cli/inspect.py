"""`reprogram inspect`: what a program file holds, without loading its host."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reprogram.cli.console import emit, table


def inspect_command(program_file: Path, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Check a program file and show what it holds; its host isn't loaded.

    Args:
        program_file: written by fit.
        json: print it as JSON.
    """
    from reprogram.programfile import read
    from reprogram.registry import format_spec

    file = read(program_file)
    header = file.header
    canvas, drawn, label_map = file.parts
    assignment, weights = label_map.assignment(), label_map.weights()
    if json:
        emit(
            {
                **header.model_dump(mode="json"),
                "bytes": file.num_bytes,
                "tensors": {name: list(value.shape) for name, value in file.tensors.items()},
                "assignment": assignment,
                "weights": weights,
            }
        )
        return 0
    names = _host_labels(header.host.num_classes)
    rows: list[tuple[object, ...]] = [
        ("file", f"{program_file}, {file.num_bytes} bytes, format {header.version}, digest {header.digest[:16]}"),
        (
            "task",
            f"{header.task.name}, {len(header.task.classes)} classes, images {'x'.join(map(str, header.task.shape))}",
        ),
        ("host", f"{header.host.id}, fingerprint {header.host.fingerprint[:16]}"),
        (
            "host input",
            f"{header.host.channels}x{header.host.size[0]}x{header.host.size[1]}, {header.host.num_classes} classes",
        ),
        ("canvas", format_spec(canvas)),
        (
            "program",
            f"{format_spec(drawn)}, {'confined to the frame' if drawn.confined else 'changes the task image too'}",
        ),
        ("label map", format_spec(label_map)),
        ("created by", header.created_by),
    ]
    rows += [(name, value) for name, value in header.metrics.items()]
    rows += [
        (name, f"{'x'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}")
        for name, value in file.tensors.items()
    ]
    for place, (task_label, host_labels) in enumerate(list(zip(header.task.classes, assignment, strict=True))[:50]):
        shown = [names(label) for label in host_labels[:5]]
        if weights is not None:
            shown = [f"{weight:.3f} × {name}" for name, weight in zip(shown, weights[place], strict=False)]
        more = "" if len(host_labels) <= 5 else " and others" if weights else f" and {len(host_labels) - 5} more"
        rows.append((f"label {task_label!r}", ", ".join(shown) + more))
    table(rows)
    return 0


def _host_labels(num_classes: int) -> Any:
    if num_classes != 1000:
        return lambda index: f"host label {index}"
    from reprogram.hosts._imagenet import class_names

    return lambda index: f"host label {index} (ImageNet: {class_names()[index]})"
