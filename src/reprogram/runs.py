"""A run: from a configuration to a folder with the program, the result and the report.

The folder holds `config.toml` (as resolved), `checkpoint.safetensors` (while it goes on), `program.safetensors`,
`result.json`, `examples.json` and `report.html`. The same configuration on an interrupted folder goes on where it
stopped.
"""

import json
import os
import platform
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reprogram import baselines, datacheck
from reprogram._version import __version__
from reprogram.checkpoint import write_atomic
from reprogram.errors import ConfigError, DataError
from reprogram.evaluation import Evaluation, predict, score
from reprogram.fitting import Budget, Fit, LossKind, Report, fit
from reprogram.hosts.base import EngineName
from reprogram.model import Reprogrammed, load_host, load_task
from reprogram.registry import MAX_SEED, format_spec
from reprogram.report.examples import answers
from reprogram.tasks.base import Task

RESULT_SCHEMA = 1
FILES = ("config.toml", "checkpoint.safetensors", "program.safetensors", "examples.json", "result.json", "report.html")
MARK = "# The resolved configuration of this run; reprogram fit --config FILE runs it again."
BASELINES = ("map-alone", "linear-probe", "untrained")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run is. Components are specs (see `reprogram.registry`).

    Attributes:
        host: the frozen classifier.
        task: what it shall do.
        canvas: where task images go.
        program: what is learned.
        label_map: from host labels to task labels.
        learner: what improves the program.
        loss: "task" or "host" (the paper's): over which labels the softmax runs.
        seed: of start values and order of images.
        epochs: budget in passes over the training images.
        seconds: budget in seconds of learning.
        batch_size: images a step.
        validations: how often the validation split is looked at.
        baselines: of `BASELINES`, beside chance and majority, which cost nothing.
        data: folder of the task's files, for tasks that take one.
        download: whether weights and data may be fetched.
        skip_bad: whether to go on without files that can't be read, for tasks that take such an option.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is.
        engine: "shared" computes what the batch shares once, "dense" every image whole; the numbers are the same.
        out: the run folder; empty: runs/TASK-HOST-PROGRAM-SEED.
    """

    host: str = "efficientnet-lite0"
    task: str = "squares"
    canvas: str = "centre"
    program: str = "frame"
    label_map: str = "first"
    learner: str = "gradient"
    loss: LossKind = "task"
    seed: int = 0
    epochs: float | None = None
    seconds: float | None = None
    batch_size: int = 16
    validations: int = 10
    baselines: tuple[str, ...] = ("map-alone", "linear-probe")
    data: str = ""
    download: bool = False
    skip_bad: bool = False
    device: str = "auto"
    engine: EngineName = "shared"
    out: str = ""

    def __post_init__(self) -> None:
        for name in self.baselines:
            if name not in BASELINES:
                raise ConfigError(f"no baseline {name!r}; known: {', '.join(BASELINES)}")
        if self.epochs is not None or self.seconds is not None:
            Budget(epochs=self.epochs, seconds=self.seconds)
        if self.batch_size < 1 or self.validations < 1:
            raise ConfigError("batch_size and validations are at least 1")
        if not 0 <= self.seed < MAX_SEED:
            raise ConfigError(f"seed={self.seed}; a whole number from 0 to 2^40 is expected")

    @property
    def folder(self) -> Path:
        """The run folder."""
        if self.out:
            return Path(self.out)
        parts = (self.task, self.host, self.program, f"s{self.seed}")
        return Path("runs") / "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", part).strip("_")[-40:] for part in parts)

    def identity(self) -> dict[str, Any]:
        """What decides the result: everything but places and permissions."""
        skip = {"out", "download", "device", "engine", "baselines"}
        return {key: value for key, value in asdict(self).items() if key not in skip}


def to_toml(config: RunConfig) -> str:
    """The configuration as a TOML file that `reprogram fit --config` takes."""
    lines = [MARK, "[fit]"]
    for key, value in asdict(config).items():
        if value is not None:
            text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The `[fit]` table of a configuration file; hyphens and underscores in names are the same.

    Raises:
        ConfigError: missing, damaged, or without that table.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: can't be read ({getattr(error, 'strerror', None) or error}); give a TOML file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no valid TOML ({error})") from None
    values = table.get("fit", table)
    if not isinstance(values, dict) or (values is not table and set(table) != {"fit"}):
        raise ConfigError(f"{path}: expected one table [fit], found {', '.join(sorted(table))}")
    return {key.replace("-", "_"): value for key, value in values.items()}


def execute(
    config: RunConfig,
    *,
    say: Callable[[str], None] = lambda _: None,
    observe: Callable[[Report], None] | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Learn, measure and report; or go on with an interrupted run of the same configuration.

    Args:
        config: what to run.
        say: told what is going on, a line at a time.
        observe: told after every step.
        command: the command that the result names; by default this process's own.

    Returns:
        The result, as `result.json` holds it.

    Raises:
        ConfigError: the folder holds another run, or components don't fit.
        DataError: data can't be read, or the folder can't be written.
        HostUnavailableError: the host isn't here.
    """
    folder = config.folder
    resumed = _prepare(folder, config)
    if resumed:
        say(f"going on with the interrupted run in {folder}")
    say(f"loading host {config.host}")
    host = load_host(config.host, download=config.download).to(resolve_device(config.device))
    host.engine = config.engine
    say(f"loading task {config.task}")
    task = load_task(config.task, data=config.data, download=config.download, skip_bad=config.skip_bad)
    checked = datacheck.check(task)
    for line in checked.warnings():
        say(f"warning: {line}")
    model = Reprogrammed.build(
        host, task, canvas=config.canvas, program=config.program, label_map=config.label_map, seed=config.seed
    )
    write_atomic(folder / "config.toml", to_toml(config).encode())
    say(f"learning from {len(task.train)} images, {len(task.validation)} for validation, {len(task.test)} for the test")
    fitted = _fit(model, task, config, folder / "checkpoint.safetensors", observe)
    say("measuring on the test split")
    test_scores = predict(model, task.test)
    test = score(test_scores, task.test.labels)
    measured = {"chance": baselines.chance(task), "majority": baselines.majority(task)}
    measured |= _asked_baselines(config, model, task, say)
    model.provenance.metrics = {"test_accuracy": test.accuracy, "test_n": test.n, "seed": config.seed}
    model.save(folder / "program.safetensors")
    result = _result(config, model, task, fitted, test, measured, command) | {"data": checked.to_json()}
    examples = {
        **answers(model, task, test_scores),
        "history": fitted.history,
        "confusion": [list(row) for row in test.confusion],
    }
    write_atomic(folder / "examples.json", _json(examples))
    write_atomic(folder / "result.json", _json(result))
    from reprogram.report import write_report

    write_report(folder)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
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
        epochs=config.epochs,
        seconds=config.seconds,
        batch_size=config.batch_size,
        validations=config.validations,
        seed=config.seed,
        checkpoint=checkpoint,
        observe=observe,
    )


def _prepare(folder: Path, config: RunConfig) -> bool:
    """Check the run folder; whether it holds an interrupted run of this configuration."""
    if (folder / "result.json").exists():
        raise ConfigError(f"{folder}: holds a finished run; choose another --out, or remove the folder")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise DataError(f"{folder}: can't be made in {there}, which may not be written; choose another --out")
    own = folder / "config.toml"
    if not own.exists():
        foreign = [name for name in FILES if (folder / name).exists()]
        if foreign:
            raise ConfigError(f"{folder}: holds a {foreign[0]} of something else; choose another --out")
        return False
    if not own.read_bytes().startswith(MARK.encode()):
        raise ConfigError(f"{own}: isn't the configuration of a run, and would be overwritten; choose another --out")
    values = read_toml(own)
    before = RunConfig(**{f.name: values[f.name] for f in fields(RunConfig) if f.name in values}).identity()
    for key, value in config.identity().items():
        if before.get(key) != value:
            raise ConfigError(
                f"{folder}: holds an interrupted run with {key}={before.get(key)!r}, not {value!r}; "
                "give the same configuration to go on, or another --out"
            )
    return (folder / "checkpoint.safetensors").exists()


def remove_finished(folder: Path) -> bool:
    """Remove a finished run's own files, and the folder if nothing else is in it; whether there was one."""
    if not (folder / "result.json").exists():
        return False
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return True


def _asked_baselines(
    config: RunConfig, model: Reprogrammed, task: Task, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    measured = {}
    for name in config.baselines:
        say(f"measuring the baseline {name}")
        if name == "map-alone":
            measured[name] = baselines.label_map_alone(model, task)
        elif name == "linear-probe":
            measured[name] = baselines.linear_probe(model.host, task, seed=config.seed)
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
    twin = Reprogrammed.build(
        host, task, canvas=config.canvas, program=config.program, label_map=config.label_map, seed=config.seed
    )
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
