"""The folder that a program is shared as: the program file, `config.json`, pictures, and the model card `README.md`.

It is laid out as the Hugging Face Hub expects it, and written without a network. Of it, only the program file is ever
read back.
"""

import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reprogram._version import __version__
from reprogram.errors import ReprogramError
from reprogram.programfile.file import ProgramFile, read
from reprogram.programfile.format import MAX_FILE
from reprogram.programfile.hub import FILE
from reprogram.programfile.pictures import map_picture, program_picture
from reprogram.programfile.without_folders import result_without_folders
from reprogram.registry import configure, format_spec
from reprogram.utils.files import is_folder, read_json, read_ordinary
from reprogram.utils.text import printable

TAGS = ("reprogram", "model-reprogramming", "adversarial-reprogramming", "visual-prompting")
MOST_LABELS = 20
"""Task labels that the card lists."""
UNSTATED = "not stated"


def folder_of(
    program: Path, *, repo: str = "", licence: str = "", host_licence: str = "", task_licence: str = ""
) -> dict[str, bytes]:
    """The files of the folder that a program is shared as.

    Args:
        program: the program file, or the run's folder, whose result the card then tells.
        repo: `owner/name`, for the card's commands.
        licence: of the program, as the Hub names licences; by default none is stated.
        host_licence: of the host's weights; by default what the host's source says.
        task_licence: of the task's images; by default none is stated.

    Returns:
        The bytes of each file, by its name.

    Raises:
        ProgramFileError: the program file is refused.
    """
    path = program / FILE if is_folder(program) else program
    file = read(path)
    result = result_of(path, file)
    licences = (licence, host_licence or licence_of_host(file.header.host.id), task_licence or UNSTATED)
    return {
        FILE: read_ordinary(path, MAX_FILE),
        "config.json": config_of(file),
        "program.png": _png(program_picture(file.adapter)),
        "label_map.png": _png(map_picture(file.adapter.label_map)),
        "README.md": card_of(file, result, repo=repo, licences=licences).encode(),
    }


def result_of(path: Path, file: ProgramFile) -> dict[str, Any]:
    """The result of the run that a program file lies beside, if it is this program's; else an empty one.

    Args:
        path: the program file.
        file: its content.
    """
    try:
        result = read_json(path.parent / "result.json")
        header = file.header
        found = [result["task_fingerprint"], result["host_fingerprint"], result["test"]["accuracy"], result["seed"]]
        metrics = header.metrics["test_accuracy"], header.metrics["seed"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return result if found == [header.task.fingerprint, header.host.fingerprint, *metrics] else {}


def licence_of_host(spec: str) -> str:
    """The licence of a host's weights, as its source says without loading them.

    Args:
        spec: the host's.
    """
    try:
        variant, config = configure("hosts", spec)
        info = variant(config).info()
    except ReprogramError:
        return UNSTATED
    return UNSTATED if info is None or info.licence == "unknown" else str(info.licence)


def base_model(spec: str) -> str:
    """The Hub's name of a host's weights; empty where they aren't from there.

    Args:
        spec: the host's.
    """
    try:
        variant, config = configure("hosts", spec)
    except ReprogramError:
        return ""
    if variant.name() == "timm" and config.pretrained:
        return f"timm/{config.model}"
    if variant.name() == "hf" and config.pretrained and "/" in config.model.strip("./"):
        return str(config.model)
    return ""


def config_of(file: ProgramFile) -> bytes:
    """The content of `config.json`: the program file's header, for people and other tools; it is never read back.

    Args:
        file: the program file.
    """
    header = file.header.model_dump(mode="json", exclude_unset=True)
    config = {"library_name": TAGS[0], "model_type": TAGS[0], "reprogram_version": __version__, "program": header}
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()


def card_of(
    file: ProgramFile, result: dict[str, Any], *, repo: str = "", licences: tuple[str, str, str] = ("", "", "")
) -> str:
    """The model card.

    Args:
        file: the program file.
        result: of its run; empty where it isn't known.
        repo: `owner/name`; empty where there is none yet.
        licences: of the program, of the host's weights and of the task's images; empty where it isn't stated.
    """
    header = file.header
    host, task, repo = _cell(header.host.id), _cell(header.task.name), repo or "OWNER/NAME"
    parts = [
        _front(file, result, licences[0]),
        f"# {task} on {host}",
        f"A program of model reprogramming: one learned image that makes the frozen classifier {host} do the task "
        f"{task}. The host's weights aren't here and aren't changed; this repository holds the program alone "
        f"({file.num_bytes:,} bytes).",
        "![The program on the host's input; the task image goes where it is grey.](program.png)",
        "## Results",
        _results(file, result),
        "## Use it",
        f"```sh\npip install 'reprogram[hub]'\nreprogram predict hub:{repo} --download IMAGES\n```",
        f'```python\nimport reprogram\n\nmodel = reprogram.load("hub:{repo}", download=True)\n```',
        "## What it is",
        _facts(file, result),
        _labels(file),
        "![The label map: a row a task label, a column a host label.](label_map.png)",
        "## Limits",
        _limits(file, result),
        "## Licences",
        f"- program: {_cell(licences[0]) or UNSTATED}\n- host's weights: {_cell(licences[1]) or UNSTATED}\n"
        f"- task's images: {_cell(licences[2]) or UNSTATED}",
        "Running a model for a task that its owner didn't mean it for may be against its terms of use.",
    ]
    return "\n\n".join(parts) + "\n"


def _front(file: ProgramFile, result: dict[str, Any], licence: str) -> str:
    """The YAML that the Hub reads; every text is written as JSON, which YAML contains."""
    header, base = file.header, base_model(file.header.host.id)
    lines = ["---", f"library_name: {TAGS[0]}", "pipeline_tag: image-classification"]
    lines += [f"license: {json.dumps(licence)}"] if licence else []
    lines += [f"base_model: {json.dumps(base)}", "base_model_relation: adapter"] if base else []
    lines += ["tags:", *(f"- {tag}" for tag in TAGS), "metrics:", "- accuracy"]
    accuracy = (result.get("test") or {}).get("accuracy", header.metrics.get("test_accuracy"))
    if isinstance(accuracy, int | float):
        name = json.dumps(printable(header.task.name))
        lines += ["model-index:", f"- name: {json.dumps(printable(f'{header.task.name} on {header.host.id}'))}"]
        lines += ["  results:", "  - task:", "      type: image-classification"]
        lines += ["    dataset:", f"      name: {name}", f"      type: {name}"]
        lines += ["    metrics:", "    - type: accuracy", f"      value: {float(accuracy)!r}"]
    return "\n".join([*lines, "---"])


def _results(file: ProgramFile, result: dict[str, Any]) -> str:
    """The accuracies with their intervals, and what the program is worth."""
    if not result:
        metrics = file.header.metrics
        known = metrics.get("test_accuracy")
        if not isinstance(known, int | float):
            return "Nothing is stated: the file holds no measured accuracy."
        return f"Test accuracy {known:.4f} (n={metrics.get('test_n', 'not stated')}), as the program file states it."
    rows = ["| what | accuracy | 95 % interval | n |", "|---|---|---|---|"]
    measured = {"**this program, test**": result["test"], "validation": result.get("validation")}
    measured |= {f"baseline {name.replace('_', '-')}": one for name, one in result.get("baselines", {}).items()}
    for name, one in measured.items():
        if one and isinstance(one.get("accuracy"), int | float):
            rows.append(f"| {name} | {one['accuracy']:.4f} | {_interval(one)} | {one.get('n', '')} |")
    worth = result.get("program_worth")
    if not worth:
        return "\n".join(rows)
    low, high = worth["interval"]
    return "\n".join(rows) + (
        f"\n\nWhat the program is worth, accuracy minus the label map's alone on the same {worth['n']} images: "
        f"**{worth['difference']:+.4f}** (95 % interval {low:+.4f} to {high:+.4f})."
    )


def _facts(file: ProgramFile, result: dict[str, Any]) -> str:
    header, adapter, told = file.header, file.adapter, result_without_folders(result)
    size = " x ".join(map(str, (header.host.channels, *header.host.size)))
    facts: dict[str, Any] = {
        "task": f"{header.task.name}: {len(header.task.classes)} classes, "
        f"images of {' x '.join(map(str, header.task.shape))} (channels, height, width)",
        "host": f"{header.host.id}, {header.host.num_classes} labels, input {size}, "
        f"fingerprint {header.host.fingerprint[:16]}",
        "canvas": format_spec(adapter.canvas),
        "program": format_spec(adapter.program),
        "label map": format_spec(adapter.label_map),
        **{name: told[name] for name in ("learner", "loss", "images_seen", "seed") if name in told},
        **({"command": told["command"]} if told.get("command") else {}),
        "digest": header.digest,
        "created by": header.created_by,
    }
    return "\n".join(f"- {name.replace('_', ' ')}: {_cell(value)}" for name, value in facts.items())


def _labels(file: ProgramFile) -> str:
    """The first task labels, with how many host labels stand for each."""
    classes, groups = file.header.task.classes, file.adapter.label_map.assignment()
    rows = ["| task label | host labels that stand for it |", "|---|---|"]
    for name, labels in list(zip(classes, groups, strict=True))[:MOST_LABELS]:
        more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
        rows.append(f"| {_cell(name)} | {', '.join(map(str, labels[:5]))}{more} |")
    rest = len(classes) - MOST_LABELS
    return "\n".join(rows) + (f"\n\nand {rest} more task labels" if rest > 0 else "")


def _limits(file: ProgramFile, result: dict[str, Any]) -> str:
    shape = " x ".join(map(str, file.header.task.shape))
    lines = [
        "It works on the host with the fingerprint above alone; other weights or another preprocessing are refused.",
        f"It was learned for images of {shape}; others are resized to that, and cut.",
        "Every image gets one of the task's labels, also one that shows nothing of the task.",
        "The accuracies hold for images like those of the task's test split.",
        *(result.get("doubts") or {}).values(),
    ]
    if not result:
        lines.append("No baselines are stated: how much of the accuracy is the label map's isn't known.")
    return "\n".join(f"- {_cell(line)}" for line in lines)


def _interval(measured: dict[str, Any]) -> str:
    interval = measured.get("interval")
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def _cell(value: object) -> str:
    """A text from a stranger for a table or a paragraph of Markdown: none of its characters means anything."""
    text = html.escape(printable(value), quote=False)
    return "".join(f"\\{c}" if c in "\\`*[]|#!~" else c for c in text)


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
