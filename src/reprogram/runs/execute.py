"""The execution of a run: from a configuration to a folder with the program, the result and the report.

The folder holds `config.toml` (as resolved), `run.json` (when the run began and ended), `checkpoint.safetensors` and
the checkpoint before it (while the run goes on), `history.jsonl`, `program.safetensors`, `predictions.csv` (one line a
test image), `examples.json`, `report.html` and, written last, `result.json`. The same configuration on an interrupted
folder resumes the run; on a finished one it returns the result. The parent folder holds an index of the runs, see
`reprogram.runs.index`.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from reprogram.canvases.base import size_in_window
from reprogram.evaluation import datacheck
from reprogram.evaluation.baselines.base import BaselineInput
from reprogram.evaluation.metrics import score
from reprogram.evaluation.paired import paired
from reprogram.evaluation.reading import Answers, host_shows, read_answers
from reprogram.hosts._factory import load_host
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed
from reprogram.registry import configure, find, names
from reprogram.report.examples import examples_of
from reprogram.runs.config import SPECS, RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import recorded
from reprogram.runs.predictions import to_csv
from reprogram.runs.result import build_result
from reprogram.tasks._factory import load_task, task_source
from reprogram.tasks.base import Task
from reprogram.training.checkpoint import Checkpoint
from reprogram.training.fit import fit
from reprogram.training.results import FitProgress, FitResult
from reprogram.utils.distributed import alone, process_group
from reprogram.utils.files import write_atomic
from reprogram.utils.process import local_device, resolve_device


class Loader:
    """Loads the host and the task of a run. This class loads them anew; a subclass may share them."""

    def host(self, config: RunConfig) -> Host:
        """Load a run's host; its meter stands at zero.

        Args:
            config: the run's configuration.
        """
        return load_host(config.host, download=config.download)

    def task(self, config: RunConfig, host: Host) -> Task:
        """Load a run's task.

        Args:
            config: the run's configuration.
            host: the run's host: images of several sizes are brought to the one that the canvas has on it.
        """
        return load_task(
            config.task,
            data=config.data,
            download=config.download,
            skip_bad=config.skip_bad,
            size_of_unequal=lambda: size_in_window(config.canvas, host.info.shape),
        )


def execute(
    config: RunConfig,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[FitProgress], None] | None = None,
    command: str | None = None,
    loader: Loader | None = None,
) -> dict[str, Any]:
    """Learn, measure and report; or resume an interrupted run of the same configuration.

    Args:
        config: the run's configuration.
        say: called with each line of what is going on.
        on_progress: called after every step.
        command: the command that the result names; by default this process's own.
        loader: loads host and task; by default they are loaded anew.

    Returns:
        The result, as `result.json` holds it; it is empty in all processes but the main one.

    Raises:
        ConfigError: the folder holds another run, or components don't fit each other.
        DataError: data can't be read, or the folder can't be written.
        HostUnavailableError: the host isn't here.
    """
    for option, family in SPECS.items():  # A misspelt spec is refused before anything is loaded or written.
        configure(family, getattr(config, option))
    task_source(config.task, data=config.data, skip_bad=config.skip_bad).check()
    folder = RunFolder(config.folder)
    with process_group(resolve_device(local_device(config.device))) as group, contextlib.ExitStack() as contexts:
        group.on_main(lambda: contexts.enter_context(folder.owned()))
        state = group.on_main(lambda: folder.prepare(config))
        if not group.is_main:
            say, on_progress = (lambda _: None), None
        if state == "finished":
            say(f"the run in {folder.path} is finished already")
            Checkpoint(folder.checkpoint).remove()
            return folder.read_result()
        if state == "interrupted":
            say(f"going on with the interrupted run in {folder.path}")
        model, task, data_check = _load(config, say, loader or Loader())
        group.on_main(lambda: contexts.enter_context(recorded(folder, config, say)))
        fit_result = _learn(config, folder, model, task, say, on_progress)
        if not group.is_main:  # The main process alone measures and writes.
            return {}
        return _measure(config, folder, model, task, fit_result, data_check, say, command)


def _load(
    config: RunConfig, say: Callable[[str], None], loader: Loader
) -> tuple[Reprogrammed, Task, datacheck.DataCheck]:
    say(f"loading host {config.host}")
    host = loader.host(config).to(resolve_device(local_device(config.device)))
    host.engine = config.engine
    say(f"loading task {config.task}")
    task = loader.task(config, host)
    if config.shots is not None:
        task = task.few(config.shots, seed=config.seed)
    data_check = datacheck.check(task)
    for line in data_check.warnings():
        say(f"warning: {line}")
    return _build(config, host, task), task, data_check


def _build(config: RunConfig, host: Host, task: Task) -> Reprogrammed:
    model = Reprogrammed.build(
        host, task, canvas=config.canvas, program=config.program, label_map=config.label_map, seed=config.seed
    )
    if config.warm_start:
        model.warm_start(config.warm_start)
    return model


def _learn(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    task: Task,
    say: Callable[[str], None],
    on_progress: Callable[[FitProgress], None] | None,
) -> FitResult:
    say(f"learning from {len(task.train)} images, {len(task.validation)} for validation, {len(task.test)} for the test")

    def after_step(progress: FitProgress) -> None:
        folder.append_history(progress.history)
        if on_progress is not None:
            on_progress(progress)

    return _fit(model, task, config, folder.checkpoint, after_step)


def _measure(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    task: Task,
    fit_result: FitResult,
    data_check: datacheck.DataCheck,
    say: Callable[[str], None],
    command: str | None,
) -> dict[str, Any]:
    folder.append_history(fit_result.history)
    say("measuring on the test split")
    answers = read_answers(model, task.test)
    test, predictions = score(answers.scores, task.test.labels), _predictions(answers, task)
    baselines = _baselines(config, model, task, fit_result.images_seen, predictions, say)
    model.provenance.metrics = {"test_accuracy": test.accuracy, "test_n": test.n, "seed": config.seed}
    model.save(folder.program)
    write_atomic(folder.predictions, to_csv(predictions))
    result = build_result(config, model, task, fit_result, test, baselines, command)
    result |= {"host_shows": host_shows(model.label_map, answers, task.test.labels), "data": data_check.to_json()}
    if "map_alone" in predictions:
        worth = paired(predictions["program"], predictions["map_alone"], predictions["label"])
        result |= {"program_worth": worth.to_json()}
    examples = {
        **examples_of(model, task, answers.scores),
        "history": fit_result.history,
        "confusion": [list(row) for row in test.confusion],
    }
    write_atomic(folder.examples, _json(examples))
    from reprogram.report.page import write_report

    write_report(folder.path, result=json.loads(_json(result)))
    folder.end()
    write_atomic(folder.result, _json(result))
    Checkpoint(folder.checkpoint).remove()
    return result


def _fit(
    model: Reprogrammed,
    task: Task,
    config: RunConfig,
    checkpoint: Path | None,
    on_progress: Callable[[FitProgress], None] | None = None,
) -> FitResult:
    return fit(model, task, config, checkpoint=checkpoint, on_progress=on_progress)


def _predictions(answers: Answers, task: Task) -> dict[str, Tensor]:
    """The columns of `predictions.csv` before any baseline adds its own."""
    return {"label": task.test.labels, "program": answers.scores.argmax(dim=1), "top_label": answers.top_labels}


def _baselines(
    config: RunConfig,
    model: Reprogrammed,
    task: Task,
    images_seen: int,
    predictions: dict[str, Tensor],
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """The results of the baselines that cost nothing and of the configured ones, by their names with underscores."""

    def learn_on(host: Host) -> tuple[Reprogrammed, int, float]:
        twin = _build(config, host.to(resolve_device(config.device)), task)
        with alone():  # Only the main process measures baselines.
            result = _fit(twin, task, config, None)
        return twin, result.images_seen, result.seconds

    run = BaselineInput(
        model=model,
        task=task,
        images_seen=images_seen,
        seed=config.seed,
        augmentation=config.augmentation,
        learn_on=learn_on,
        predictions=predictions,
    )
    free = [name for name in names("baselines") if find("baselines", name).always]
    results = {}
    for name in dict.fromkeys([*free, *config.baselines]):
        if name not in free:
            say(f"measuring the baseline {name}")
        variant, options = configure("baselines", name)
        results[name.replace("-", "_")] = variant(options).measure(run)
    return results


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
