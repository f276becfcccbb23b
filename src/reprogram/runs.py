"""A run: from a configuration to a folder with the program, the result and the report.

The folder holds `config.toml` (as resolved), `run.json` (when it began and ended), `checkpoint.safetensors` and the one
before it (while it goes on), `history.jsonl`, `program.safetensors`, `examples.json`, `report.html` and, last,
`result.json`. The same configuration on an interrupted folder goes on where it stopped; on a finished one it returns
the result that is there. The folder that it lies in holds an index of the runs, see `reprogram.runstore`.
"""

import contextlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reprogram import baselines, datacheck
from reprogram._version import __version__
from reprogram.checkpoint import Checkpoint, write_atomic
from reprogram.distributed import alone, group
from reprogram.errors import ConfigError
from reprogram.evaluation import Evaluation, predict, score
from reprogram.fitting import Fit, Report, fit
from reprogram.hosts.base import Host
from reprogram.launch import local_device
from reprogram.model import Reprogrammed, load_host, load_task
from reprogram.registry import configure, format_spec
from reprogram.report.examples import answers
from reprogram.runconfig import SPECS, RunConfig
from reprogram.runfolder import RunFolder
from reprogram.runstore import recorded
from reprogram.tasks.base import Task

RESULT_SCHEMA = 1


class Loader:
    """Where a run's host and task come from: here they are loaded anew."""

    def host(self, config: RunConfig) -> Host:
        """The host that a run is configured with; its meter stands at zero."""
        return load_host(config.host, download=config.download)

    def task(self, config: RunConfig) -> Task:
        """The task that a run is configured with."""
        return load_task(config.task, data=config.data, download=config.download, skip_bad=config.skip_bad)


def execute(
    config: RunConfig,
    *,
    say: Callable[[str], None] = lambda _: None,
    observe: Callable[[Report], None] | None = None,
    command: str | None = None,
    loader: Loader | None = None,
) -> dict[str, Any]:
    """Learn, measure and report; or go on with an interrupted run of the same configuration.

    Args:
        config: what to run.
        say: told what is going on, a line at a time.
        observe: told after every step.
        command: the command that the result names; by default this process's own.
        loader: where host and task come from; by default they are loaded anew.

    Returns:
        The result, as `result.json` holds it; nothing in the other processes of a group than the leading one.

    Raises:
        ConfigError: the folder holds another run, or components don't fit.
        DataError: data can't be read, or the folder can't be written.
        HostUnavailableError: the host isn't here.
    """
    for option, family in SPECS.items():  # A misspelt one is found before anything is loaded or written.
        configure(family, getattr(config, option))
    folder = RunFolder(config.folder)
    with group(resolve_device(local_device(config.device))) as together, contextlib.ExitStack() as held:
        together.first(lambda: held.enter_context(folder.owned()))
        state = together.first(lambda: folder.prepare(config))
        if not together.leads:
            say, observe = (lambda _: None), None
        if state == "finished":
            say(f"the run in {folder.path} is finished already")
            Checkpoint(folder.checkpoint).remove()
            return folder.read_result()
        if state == "interrupted":
            say(f"going on with the interrupted run in {folder.path}")
        model, task, checked = _load(config, say, loader or Loader())
        together.first(lambda: held.enter_context(recorded(folder, config, say)))
        fitted = _learn(config, folder, model, task, say, observe)
        if not together.leads:  # The rest is the leading process's work.
            return {}
        return _measure(config, folder, model, task, fitted, checked, say, command)


def _load(
    config: RunConfig, say: Callable[[str], None], loader: Loader
) -> tuple[Reprogrammed, Task, datacheck.DataCheck]:
    say(f"loading host {config.host}")
    host = loader.host(config).to(resolve_device(local_device(config.device)))
    host.engine = config.engine
    say(f"loading task {config.task}")
    task = loader.task(config)
    if config.shots is not None:
        task = task.few(config.shots, seed=config.seed)
    checked = datacheck.check(task)
    for line in checked.warnings():
        say(f"warning: {line}")
    return _build(config, host, task), task, checked


def _build(config: RunConfig, host: Host, task: Task) -> Reprogrammed:
    model = Reprogrammed.build(
        host, task, canvas=config.canvas, program=config.program, label_map=config.label_map, seed=config.seed
    )
    if config.start:
        model.start_from(config.start)
    return model


def _learn(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    task: Task,
    say: Callable[[str], None],
    observe: Callable[[Report], None] | None,
) -> Fit:
    say(f"learning from {len(task.train)} images, {len(task.validation)} for validation, {len(task.test)} for the test")

    def follow(report: Report) -> None:
        folder.append_history(report.history)
        if observe is not None:
            observe(report)

    return _fit(model, task, config, folder.checkpoint, follow)


def _measure(
    config: RunConfig,
    folder: RunFolder,
    model: Reprogrammed,
    task: Task,
    fitted: Fit,
    checked: datacheck.DataCheck,
    say: Callable[[str], None],
    command: str | None,
) -> dict[str, Any]:
    folder.append_history(fitted.history)
    say("measuring on the test split")
    test_scores = predict(model, task.test)
    test = score(test_scores, task.test.labels)
    measured = {"chance": baselines.chance(task), "majority": baselines.majority(task)}
    measured |= _asked_baselines(config, model, task, fitted.images_seen, say)
    model.provenance.metrics = {"test_accuracy": test.accuracy, "test_n": test.n, "seed": config.seed}
    model.save(folder.program)
    result = _result(config, model, task, fitted, test, measured, command) | {"data": checked.to_json()}
    examples = {
        **answers(model, task, test_scores),
        "history": fitted.history,
        "confusion": [list(row) for row in test.confusion],
    }
    write_atomic(folder.examples, _json(examples))
    from reprogram.report import write_report

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
    observe: Callable[[Report], None] | None = None,
) -> Fit:
    return fit(
        model,
        task,
        learner=config.learner,
        loss=config.loss,
        augmentation=config.augmentation,
        epochs=config.epochs,
        images=config.images,
        seconds=config.seconds,
        batch_size=config.batch_size,
        parts=config.parts,
        validations=config.validations,
        seed=config.seed,
        checkpoint=checkpoint,
        checkpoint_every=config.checkpoint_every,
        observe=observe,
    )


def _asked_baselines(
    config: RunConfig, model: Reprogrammed, task: Task, images_seen: int, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    measured = {}
    for name in config.baselines:
        say(f"measuring the baseline {name}")
        if name == "map-alone":
            measured[name] = baselines.label_map_alone(model, task, images_seen)
        elif name == "linear-probe":
            measured[name] = baselines.linear_probe(model.host, task, seed=config.seed)
        elif name == "direct-training":
            measured[name] = baselines.direct_training(
                task, images_seen, seed=config.seed, augmentation=config.augmentation
            )
        else:
            measured[name] = _untrained(config, model, task)
    return {key.replace("-", "_"): value for key, value in measured.items()}


def _untrained(config: RunConfig, model: Reprogrammed, task: Task) -> dict[str, Any]:
    """The same run on the same architecture with random weights."""
    if model.host.untrained is None:
        raise ConfigError(
            f"host {model.host.info.id}: its architecture can't be built anew; leave the baseline 'untrained' out"
        )
    host = model.host.untrained(config.seed).to(resolve_device(config.device))
    twin = _build(config, host, task)
    with alone():  # Of several processes, only the leading one measures.
        fitted = _fit(twin, task, config, None)
    test = score(predict(twin, task.test), task.test.labels)
    return {
        **test.to_json(),
        "host": host.info.id,
        "images_seen": fitted.images_seen,
        "seconds": round(fitted.seconds, 3),
    }


def _result(
    config: RunConfig,
    model: Reprogrammed,
    task: Task,
    fitted: Fit,
    test: Evaluation,
    measured: dict[str, dict[str, Any]],
    command: str | None,
) -> dict[str, Any]:
    host = model.host
    return {
        "schema": RESULT_SCHEMA,
        "host": host.info.id,
        "host_fingerprint": host.fingerprint,
        "task": task.name,
        "task_fingerprint": task.fingerprint,
        "splits": {name: len(getattr(task, name)) for name in ("train", "validation", "test")},
        "canvas": format_spec(model.canvas),
        "program": format_spec(model.program),
        "label_map": format_spec(model.label_map),
        "learner": config.learner,
        "augmentation": config.augmentation,
        "loss": config.loss,
        "learned_numbers": sum(p.numel() for p in model.learned_parameters()),
        "seed": config.seed,
        "command": command or shlex.join(["reprogram", *sys.argv[1:]]),
        "validation": fitted.validation.to_json(),
        "test": test.to_json(),
        "baselines": measured,
        "images_seen": fitted.images_seen,
        "seconds": round(fitted.seconds, 3),
        "selected_step": fitted.best_step,
        "host_calls": host.meter.calls,
        "host_images": host.meter.images,
        "engine": host.engine,
        "device": str(host.mean.device),
        "threads": _threads(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "safetensors")
    return {"reprogram": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}


def processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def resolve_device(name: str) -> Any:
    """The device of that name.

    Raises:
        ConfigError: there is none.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(f"device {name!r} isn't here; reprogram doctor lists those that are") from None
    return device


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
