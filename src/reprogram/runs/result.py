"""The result of a run, as `result.json` holds it."""

import os
import platform
import shlex
import sys
from importlib.metadata import version
from typing import Any

from reprogram._version import __version__
from reprogram.evaluation.metrics import Evaluation
from reprogram.model import Reprogrammed
from reprogram.registry import configure, format_spec
from reprogram.runs.config import RunConfig
from reprogram.tasks.base import Task
from reprogram.training.compatibility import settled_learner
from reprogram.training.losses import settled
from reprogram.training.results import FitResult
from reprogram.utils.environment import processor
from reprogram.utils.process import num_threads
from reprogram.utils.text import printable

RESULT_SCHEMA = 1


def build_result(
    config: RunConfig,
    model: Reprogrammed,
    task: Task,
    fit_result: FitResult,
    test: Evaluation,
    baselines: dict[str, dict[str, Any]],
    command: str | None,
) -> dict[str, Any]:
    """The fields of `result.json` but for `data`; docs/result-schema.md describes them.

    Args:
        config: the run's configuration.
        model: the model with the selected program.
        task: the run's task.
        fit_result: the result of learning.
        test: the accuracy on the test split.
        baselines: what the accuracy is held against, by name with underscores.
        command: the command that made the result; None for this process's own.
    """
    host = model.host
    return {
        "schema": RESULT_SCHEMA,
        "host": host.info.id,
        "host_fingerprint": host.fingerprint,
        "task": task.name,
        "task_fingerprint": task.fingerprint,
        "measured_images": {"validation": fit_result.validation.n, "test": test.n},
        "splits": {name: len(getattr(task, name)) for name in ("train", "validation", "test")},
        "canvas": format_spec(model.canvas),
        "program": format_spec(model.program),
        "label_map": format_spec(model.label_map),
        "learner": settled_learner(config.learner, configure("learners", config.learner)[0].access, model),
        "augmentation": config.augmentation,
        "loss": settled(config.loss, model.label_map),
        "batch_size": config.settled_batch_size(len(task.class_names)),
        "learned_numbers": sum(p.numel() for p in model.learned_parameters()),
        "seed": config.seed,
        "command": command or shlex.join(["reprogram", *map(printable, sys.argv[1:])]),
        "validation": fit_result.validation.to_json(),
        "test": test.to_json(),
        "baselines": baselines,
        "images_seen": fit_result.images_seen,
        "seconds": round(fit_result.seconds, 3),
        "selected_step": fit_result.best_step,
        "host_calls": host.meter.calls,
        "host_images": host.meter.images,
        "queries": fit_result.queries,
        **({"ended_early": fit_result.ended_early} if fit_result.ended_early else {}),
        "engine": host.engine,
        "precision": fit_result.precision,
        "device": str(host.mean.device),
        "threads": num_threads(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide a result, by name."""
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "safetensors")
    return {"reprogram": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}
