"""The execution of a run: from a configuration to a folder with the program, the result and the report.

The folder holds `config.toml` (as resolved), `run.json` (when the run began and ended), `checkpoint.safetensors` and
the checkpoint before it, and `answers.sqlite` of a host that only answers (while the run goes on), `history.jsonl`,
`program.safetensors`, `predictions.csv` (one line a test image), `examples.json`, `report.html` and, written last,
`result.json`; and `asked.txt` where the host was asked for more than the result counts, see `reprogram.runs.asked`. The
same configuration on an interrupted folder resumes the run; on a finished one it returns the result.
The parent folder holds an index of the runs, see `reprogram.runs.index`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from reprogram.canvases.base import size_in_window
from reprogram.errors import BudgetError
from reprogram.evaluation import datacheck
from reprogram.hosts._factory import load_host
from reprogram.hosts._store import billed_in
from reprogram.hosts.base import Host
from reprogram.labelmaps._declared import check_declared
from reprogram.model import Reprogrammed
from reprogram.programfile.file import readable
from reprogram.registry import configure
from reprogram.runs.asked import AskedLog
from reprogram.runs.changed import check_unchanged
from reprogram.runs.config import SPECS, RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.forecast import Forecast, forecast
from reprogram.runs.index import recorded
from reprogram.runs.measure import build, check_baselines, measure
from reprogram.runs.progress import RunProgress
from reprogram.runs.tracking import Tracking, trackers_of, tracking_of
from reprogram.tasks._factory import load_task, task_source
from reprogram.tasks.base import Task
from reprogram.training.answers import keeping_answers
from reprogram.training.checkpoint import Checkpoint
from reprogram.training.fit import fit
from reprogram.training.processes import num_processes
from reprogram.training.results import FitProgress, FitResult
from reprogram.utils.distributed import process_group
from reprogram.utils.process import local_device, resolve_device


class Loader:
    """Loads the host and the task of a run. This class loads them anew; a subclass may share them.

    Attributes:
        asked: images that the host was asked for while it was last loaded, and that its meter doesn't count.
    """

    asked: int = 0

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
    estimate: bool = False,
    processes: int = 1,
) -> dict[str, Any]:
    """Learn, measure and report; or resume an interrupted run of the same configuration.

    Args:
        config: the run's configuration.
        say: called with each line of what is going on.
        on_progress: called after every step, every batch of a validation, and every call of the host in the test and in
            baselines.
        command: the command that the result names; by default this process's own.
        loader: loads host and task; by default they are loaded anew.
        estimate: whether to say before the start what the run asks of the host and how long it may take, for which a
            few images are timed.
        processes: the most processes of one thread that learn together on a CPU; see `reprogram.fit`.

    Returns:
        The result, as `result.json` holds it; it is empty in all processes but the main one.

    Raises:
        ConfigError: the folder holds another run, or components don't fit each other.
        DataError: data can't be read, or the folder can't be written.
        HostUnavailableError: the host isn't here.
    """
    _check(config)
    trackers = trackers_of(config.track)
    folder = RunFolder(config.folder)
    with process_group(resolve_device(local_device(config.device))) as group, contextlib.ExitStack() as contexts:
        group.on_main(lambda: contexts.enter_context(folder.owned()))
        state = group.on_main(lambda: folder.prepare(config))
        if not group.is_main:
            say, on_progress, estimate = (lambda _: None), None, False
        if state == "finished":
            say(f"the run in {folder.path} is finished already")
            return _finished(config, folder, loader or Loader())
        if state == "interrupted":
            say(f"going on with the interrupted run in {folder.path}")
        log = AskedLog(folder.asked, config.total_queries)
        model, task, data_check = _load(config, say, loader or Loader(), log, folder)
        group.on_main(lambda: _check_components(model))
        group.on_main(lambda: check_baselines(config, model, task))
        group.on_main(lambda: contexts.enter_context(recorded(folder, config, say)))
        start = [parameter.detach().clone() for parameter in model.learned_parameters()]
        processes = _usable(processes, config, model, len(task.train))
        expected = forecast(config, model, task, processes=processes if group.size == 1 else 0) if estimate else None
        if state == "new" and config.total_queries is not None:
            _check_total(config.total_queries, log.total, expected or forecast(config, model, task, processes=0))
        if expected is not None and state == "new":
            say(expected.line())
        tracking = contexts.enter_context(tracking_of(config, folder, model, trackers if group.is_main else (), say))
        progress = RunProgress(expected, on_progress)
        with keeping_answers(model.host, folder.answers if group.size == 1 else None):
            contexts.enter_context(_counted(model.host, log, group.is_main))
            fit_result = _learn(config, folder, model, task, say, progress, tracking, processes)
            if fit_result.ended_early:
                say(f"learning ended early, at {fit_result.ended_early}; the best program so far is kept")
            if not group.is_main:  # The main process alone measures and writes.
                return {}
            result = measure(config, folder, model, task, fit_result, start, data_check, say, command, progress)
            tracking.finish(result)
        if not config.keep_answers:
            folder.remove_answers()
        log.remove_needless(result["host_images"])
        return result


def _check_total(limit: int, spent: int, expected: Forecast) -> None:
    """Refuse a run that might end without a result, since not all that it asks for may be asked."""
    if spent + expected.most_images > limit:
        before = f", and {spent:,} were asked before" if spent else ""
        raise BudgetError(
            f"--total-queries {limit:,}: the run asks for up to {expected.most_images:,} images, test and baselines "
            f"included{before}; raise it, or give a smaller budget or fewer baselines"
        )


def _check_components(model: Reprogrammed) -> None:
    """Refuse components that a file can't hold, or that do other things than they say, before anything is learned."""
    check_declared(model.label_map)
    provenance = replace(model.provenance, created_by="this run")
    readable("the program", model.adapter, host=model.host, task=model.task, provenance=provenance)


def _usable(processes: int, config: RunConfig, model: Reprogrammed, num_train: int) -> int:
    """The number of processes that the run learns in; one where a limit holds for all that it asks."""
    learner, _ = configure("learners", config.learner)
    if config.total_queries is not None:
        return 1
    return num_processes(processes, model, learner, config, num_train=num_train)


def _check(config: RunConfig) -> None:
    """Refuse a misspelt spec, and a task whose files aren't there, before anything is loaded or written."""
    for option, family in SPECS.items():
        configure(family, getattr(config, option))
    for spec in config.baselines:
        configure("baselines", spec)
    if config.loss != "auto":
        configure("losses", config.loss)
    task_source(config.task, data=config.data, skip_bad=config.skip_bad).check()


def _finished(config: RunConfig, folder: RunFolder, loader: Loader) -> dict[str, Any]:
    """The result of a finished run; refused where its task, host or start is another one by now."""
    result = folder.read_result()
    check_unchanged(config, folder, result, lambda: loader.host(config), lambda host: loader.task(config, host))
    if not folder.is_kept:
        Checkpoint(folder.checkpoint).remove()
        if not config.keep_answers:
            folder.remove_answers()
    return result


@contextlib.contextmanager
def _counted(host: Host, log: AskedLog, is_main: bool) -> Iterator[None]:
    """In the block, what a host without a store is asked is in the log; with one, its meter keeps the limit."""
    if log.limit is not None and host.answers is not None:
        host.meter.total_limit = max(log.limit - log.loads, 0)
    with log.counting(host) if is_main else contextlib.nullcontext():
        yield


def _load(
    config: RunConfig, say: Callable[[str], None], loader: Loader, log: AskedLog, folder: RunFolder
) -> tuple[Reprogrammed, Task, datacheck.DataCheck]:
    say(f"loading host {config.host}")
    log.check(log.largest_load, spent=billed_in(folder.answers))
    host = loader.host(config).to(resolve_device(local_device(config.device)))
    log.loaded(loader.asked)
    host.engine = config.engine
    say(f"loading task {config.task}")
    task = loader.task(config, host)
    if config.shots is not None:
        task = task.few(config.shots, seed=config.seed)
    data_check = datacheck.check(task)
    for line in data_check.warnings():
        say(f"warning: {line}")
    return build(config, host, task), task, data_check


def _learn(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    task: Task,
    say: Callable[[str], None],
    run_progress: RunProgress,
    tracking: Tracking,
    processes: int,
) -> FitResult:
    say(f"learning from {len(task.train)} images, {len(task.validation)} for validation, {len(task.test)} for the test")

    def after_step(progress: FitProgress) -> None:
        folder.append_history(progress.history)
        run_progress.on_fit(progress)
        tracking.on_progress(progress)

    return fit(
        model,
        task,
        config,
        checkpoint=folder.checkpoint,
        on_progress=after_step,
        on_validation=run_progress.on_fit,
        processes=processes,
    )
