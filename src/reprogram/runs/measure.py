"""The measurements of a run: the test split, the baselines, and the files that hold what came out."""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from reprogram.evaluation.baselines._checked import checksums, measured
from reprogram.evaluation.baselines.base import BaselineInput
from reprogram.evaluation.datacheck import DataCheck
from reprogram.evaluation.effect import program_effect
from reprogram.evaluation.metrics import score
from reprogram.evaluation.paired import net_gain, paired
from reprogram.evaluation.reading import Answers, host_shows, read_answers
from reprogram.hosts.base import Host
from reprogram.labelmaps._declared import check_declared
from reprogram.model import Reprogrammed
from reprogram.registry import configure, find, names
from reprogram.report.doubts import doubts
from reprogram.report.examples import examples_of
from reprogram.runs.changed import WITH_FILES, digests_of_files
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.forecast import TEST
from reprogram.runs.predictions import to_csv
from reprogram.runs.progress import RunProgress
from reprogram.runs.result import build_result
from reprogram.tasks._split import stratified
from reprogram.tasks.base import Task
from reprogram.training.checkpoint import Checkpoint
from reprogram.training.fit import fit
from reprogram.training.results import FitResult
from reprogram.utils.distributed import alone
from reprogram.utils.files import write_atomic
from reprogram.utils.process import resolve_device, trim_memory

FILES = ("warm_start", *(f"{option}_file" for option in WITH_FILES))
"""Fields of a result: digests of files that it began with."""


def build(config: RunConfig, host: Host, task: Task) -> Reprogrammed:
    """The model that a run learns, with its start values.

    Args:
        config: the run's configuration.
        host: the host, on the run's device.
        task: the run's task.
    """
    model = Reprogrammed.build(
        host, task, canvas=config.canvas, program=config.program, label_map=config.label_map, seed=config.seed
    )
    if config.warm_start:
        model.provenance.metrics["warm_start"] = model.warm_start(config.warm_start)
    model.provenance.metrics |= digests_of_files(config)
    return model


def check_baselines(config: RunConfig, model: Reprogrammed, task: Task) -> None:
    """Refuse baselines that can't be measured for a run, before it learns.

    Args:
        config: the run's configuration.
        model: the model with its start values.
        task: the run's task.

    Raises:
        ConfigError: a baseline can't be measured for this run.
    """
    run = BaselineInput(model=model, task=task, queries=config.budget.host_images, seed=config.seed)
    for spec in config.baselines:
        variant, options = configure("baselines", spec)
        variant(options).check(run)


def measure(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    whole_task: Task,
    fit_result: FitResult,
    start: Sequence[Tensor],
    data_check: DataCheck,
    say: Callable[[str], None],
    command: str | None,
    progress: RunProgress,
) -> dict[str, Any]:
    """Measure the learned program and the baselines on the test images, and write the rest of the run folder.

    Args:
        config: the run's configuration.
        folder: the run's folder.
        model: the model with the selected program.
        whole_task: the run's task; its test split is sampled as the configuration says, once for all measurements.
        fit_result: the result of learning.
        start: the learned parameters before the first step.
        data_check: what was found in the task's images.
        say: called with each line of what is going on.
        command: the command that the result names; None for this process's own.
        progress: is told how far the test and the baselines are.

    Returns:
        The result, as `result.json` holds it.
    """
    folder.append_history(fit_result.history)
    check_declared(model.label_map)  # Learning may have changed what it says.
    say("measuring on the test split")
    trim_memory()  # What was learned in another type took blocks of other sizes.
    task = whole_task.with_test_sample(config.test_images, seed=config.seed)
    with progress.part(TEST, model.host):
        answers = read_answers(model, task.test)
    test, predictions = score(answers.scores, task.test.labels), _predictions(config, answers, whole_task, task)
    baselines = _baselines(config, model, task, fit_result.images_seen, predictions, say, progress)
    model.host.check_unchanged("end")
    files = {name: model.provenance.metrics[name] for name in FILES if name in model.provenance.metrics}
    model.provenance.metrics = {"test_accuracy": test.accuracy, "test_n": test.n, "seed": config.seed}
    model.provenance.metrics |= {} if config.shots is None else {"shots": config.shots}
    model.save(folder.program)
    write_atomic(folder.predictions, to_csv(predictions))
    result = build_result(config, model, whole_task, fit_result, test, baselines, command)
    result |= files | {"different_answers": test.different_answers}
    result |= {"host_shows": host_shows(model.label_map, answers, task.test.labels), "data": data_check.to_json()}
    result |= _worth(model, task, start, predictions, baselines)
    result |= {"doubts": doubts(result)}
    examples = {
        **examples_of(model, task, answers.scores),
        "history": fit_result.history,
        "confusion": [list(row) for row in test.confusion],
    }
    meter = model.host.meter  # Now that nothing more is asked.
    result |= {"host_calls": meter.calls, "host_images": meter.images}
    if model.host.info.access != "gradient":
        result |= {"bill": meter.bill()}
    write_atomic(folder.examples, _json(examples))
    from reprogram.report.page import write_report

    write_report(folder.path, result=json.loads(_json(result)))
    folder.end()
    write_atomic(folder.result, _json(result))
    Checkpoint(folder.checkpoint).remove()
    return result


def _worth(
    model: Reprogrammed,
    task: Task,
    start: Sequence[Tensor],
    predictions: dict[str, Tensor],
    baselines: Collection[str],
) -> dict[str, Any]:
    """The fields that say what the program itself does: what was learned, and what it adds to the baselines."""
    learned = zip(model.learned_parameters(), start, strict=True)
    found: dict[str, Any] = {"changed_numbers": sum(int((now != before).sum()) for now, before in learned)}
    if (effect := program_effect(model, task.test.images)) is not None:
        found |= {"program_effect": effect}
    if "map_alone" in predictions:
        worth = paired(predictions["program"], predictions["map_alone"], predictions["label"])
        found |= {"program_worth": worth.to_json()}
    attackers = [name for name in baselines if find("baselines", name).attacks]
    if (gain := net_gain(predictions, attackers)) is not None:
        found |= {"net_gain": gain}
    return found


def _predictions(config: RunConfig, answers: Answers, whole_task: Task, task: Task) -> dict[str, Tensor]:
    """The columns of `predictions.csv` before any baseline adds its own; a sample says which images it holds."""
    columns = {"label": task.test.labels, "program": answers.scores.argmax(dim=1), "top_label": answers.top_labels}
    if len(task.test) == len(whole_task.test):
        return columns
    return {"image": stratified(whole_task.test.labels, len(task.test), config.seed), **columns}


def _baselines(
    config: RunConfig,
    model: Reprogrammed,
    task: Task,
    images_seen: int,
    predictions: dict[str, Tensor],
    say: Callable[[str], None],
    progress: RunProgress,
) -> dict[str, dict[str, Any]]:
    """The results of the baselines that cost nothing and of the configured ones, by their names with underscores."""

    def learn_on(host: Host, changes: Mapping[str, Any]) -> tuple[Reprogrammed, int, float]:
        twin = build(config, host.to(resolve_device(config.device)), task)
        with alone():  # Only the main process measures baselines.
            result = fit(twin, task, dataclasses.replace(config, **changes))
        return twin, result.images_seen, result.seconds

    run = BaselineInput(
        model=model,
        task=task,
        images_seen=images_seen,
        queries=config.budget.host_images,
        seed=config.seed,
        augmentation=config.augmentation,
        learn_on=learn_on,
        predictions=predictions,
    )
    free = [name for name in names("baselines") if find("baselines", name).always]
    results, before = {}, checksums(run)
    for name in dict.fromkeys([*free, *config.baselines]):
        if name not in free:
            say(f"measuring the baseline {name}")
            trim_memory()
        variant, options = configure("baselines", name)
        with progress.part(name, model.host):
            results[variant.name().replace("-", "_")] = measured(variant(options), run, before)
    return results


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
