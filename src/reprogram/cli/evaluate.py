"""`reprogram evaluate`: measure a program on a task."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli.console import Common, Display, emit
from reprogram.errors import ConfigError, DataError
from reprogram.registry import MAX_SEED
from reprogram.training.options import check_sample_size
from reprogram.types import Precision
from reprogram.utils.process import start_torch
from reprogram.utils.text import printable

if TYPE_CHECKING:
    from torch import Tensor

    from reprogram.evaluation.metrics import Evaluation
    from reprogram.model import Reprogrammed
    from reprogram.tasks._split import Split
    from reprogram.tasks.base import Task


def evaluate_command(
    program_file: Path,
    /,
    *,
    task: Annotated[str, Parameter(completer=components("tasks"))],
    split: Literal["train", "validation", "test"] = "test",
    test_images: str = "all",
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    any_host: bool = False,
    data: str = "",
    download: bool = False,
    skip_bad: bool = False,
    engine: Literal["shared", "dense"] = "shared",
    precision: Precision = "float32",
    common: Common | None = None,
) -> int:
    """Measure a program's accuracy on a task.

    Args:
        program_file: written by fit, or the folder of its run.
        task: spec of the task, e.g. mnist or folder:PATH.
        split: which images.
        test_images: how many images of the split, "all" or a number: a stratified sample by the program's seed, as
            fit takes it.
        host: the host, where it isn't the one that the file names.
        any_host: go on, with a warning, on another host than the program was learned for.
        data: folder of the task's files, for tasks that take one.
        download: allow fetching weights and data.
        skip_bad: go on without image files that can't be read; they are counted.
        engine: compute what the batch shares once, or every image whole.
        precision: the type that the host computes in; auto is bfloat16 where the device multiplies it in hardware.
        common: options of every verb.
    """
    common = common or Common()
    start_torch(common.threads)
    from reprogram.cli.predict import open_program
    from reprogram.evaluation.datacheck import check
    from reprogram.evaluation.metrics import score
    from reprogram.evaluation.precision import set_precision
    from reprogram.evaluation.reading import host_shows, read_answers
    from reprogram.tasks._factory import load_task, task_source

    display = Display(common.quiet)
    task_source(task, data=data, skip_bad=skip_bad).check()
    model = open_program(program_file, host, download, any_host, common.device, display)
    model.host.engine = engine
    set_precision(model, precision)
    loaded = load_task(task, data=data, download=download, skip_bad=skip_bad, image_shape=model.task.shape)
    checked = check(loaded)
    for line in checked.warnings():
        display.say(f"warning: {line}")
    _require_same_task(program_file, model, loaded, display)
    images = _sampled(getattr(loaded, split), test_images, model)
    labels, answers = images.labels, read_answers(model, images)
    result, shows = score(answers.scores, labels), host_shows(model.label_map, answers, labels)
    chance, computed = 1 / loaded.num_classes, str(model.host.dtype).removeprefix("torch.")
    against = _against_guessing(result, labels, chance, checked.to_json() if split == "test" else {})
    if common.json:
        names = {"program": str(program_file), "host": model.host.info.id, "task": loaded.name, "split": split}
        measured = {**result.to_json(), "chance": chance, "confusion": [list(row) for row in result.confusion]}
        more = {"precision": computed, "host_shows": shows, "data": checked.to_json()}
        emit({**names, **measured, **more, "doubts": against})
    else:
        inexact = "" if computed == "float32" else f", computed in {computed}"
        print(printable(f"{loaded.name} {split} accuracy {result}, chance {chance:.4f}{inexact}"))
        print(_what_is_read(shows), *against.values(), sep="\n")
    return 0


def _sampled(split: "Split", text: str, model: "Reprogrammed") -> "Split":
    """As many images of a split as --test-images asks for, chosen by the seed of the program's run."""
    if text == "all":
        return split
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"--test-images {text}; a whole number or 'all' is expected")
    check_sample_size("test_images", int(text))
    return split.sample(int(text), seed=_number_of_run(model, "seed") or 0)


def _number_of_run(model: "Reprogrammed", name: str) -> int | None:
    """A whole number that the program file, which may be a stranger's, says of its run; None where it says none."""
    value = model.provenance.metrics.get(name)
    return value if isinstance(value, int) and 0 <= value < MAX_SEED else None


def _against_guessing(result: "Evaluation", labels: "Tensor", chance: float, data: dict[str, Any]) -> dict[str, str]:
    """What guessing, or always answering the most frequent class, says against a program, and what its images do."""
    from reprogram.report.doubts import doubts

    most = int(labels.bincount().max()) / len(labels)
    baselines = {"chance": {"accuracy": chance}, "majority": {"accuracy": most}}
    answers = result.different_answers
    return doubts({"test": result.to_json(), "baselines": baselines, "different_answers": answers, "data": data})


def _what_is_read(shows: dict[str, Any]) -> str:
    """A line on what of the host's answers has to be read."""
    from reprogram.report.page import needed

    top = shows.get("top_label")
    if top is None:
        return f"the host has to show {needed(shows)}"
    return f"by the host's top label alone {top['accuracy']:.4f}, outside the map: {top['outside']}"


def _require_same_task(path: Path, model: "Reprogrammed", task: "Task", display: Display) -> None:
    """Refuse another task than the program was learned for; print a note on other images of the same task."""
    if (difference := model.task.difference(task)) is not None:
        raise ConfigError(
            f"{path}: learned for {model.task.name}, {task.name} has {difference}; give the task it was learned for"
        )
    if shots := _number_of_run(model, "shots"):
        with contextlib.suppress(DataError):  # Then it has fewer images, and so others.
            task = task.few(shots, seed=_number_of_run(model, "seed") or 0)
    if task.fingerprint != model.task.fingerprint:
        display.say(f"note: {task.name} holds other images than the program was learned and selected with")
