"""Model reprogramming: learn one input program that makes a frozen classifier do another task.

    import reprogram

    host = reprogram.load_host("efficientnet-lite0")
    task = reprogram.load_task("squares")
    model = reprogram.Reprogrammed.build(host, task)
    reprogram.fit(model, task, seconds=60)
    print(reprogram.evaluate(model, task))
    model.save("squares.safetensors")

Names are imported when they are first used; `import reprogram` alone doesn't import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from reprogram._version import __version__

if TYPE_CHECKING:
    from reprogram.auditing.audit import audit
    from reprogram.auditing.beside import DefenceComparison
    from reprogram.auditing.report import AuditReport
    from reprogram.auditing.verdict import Gate
    from reprogram.canvases.base import Canvas
    from reprogram.detectors._detect import detect, load_detector
    from reprogram.detectors.base import Detector, Verdict
    from reprogram.errors import (
        BudgetError,
        ConfigError,
        DataError,
        ExportParityError,
        HostMismatchError,
        HostUnavailableError,
        ProcessLostError,
        ProgramFileError,
        ReprogramError,
        WriteError,
    )
    from reprogram.evaluation.bulk import FileAnswer, predict_files
    from reprogram.evaluation.metrics import Evaluation, wilson_interval
    from reprogram.evaluation.predict import evaluate
    from reprogram.exporters._export import export
    from reprogram.framed import Box, Framed, Geometry
    from reprogram.hosts._consent import authorise
    from reprogram.hosts._factory import load_host
    from reprogram.hosts._info import HostInfo
    from reprogram.hosts.base import Host, HostSource
    from reprogram.labelmaps.base import LabelMap
    from reprogram.learners.base import Learner
    from reprogram.model import Reprogrammed, load
    from reprogram.programfile.share import pull, push
    from reprogram.programs.base import Program
    from reprogram.runs.tracking import Tracking
    from reprogram.serving.run import serve
    from reprogram.serving.shared_host import SharedHost
    from reprogram.tasks._factory import load_task
    from reprogram.tasks._split import Split
    from reprogram.tasks.base import Task, TaskSource
    from reprogram.trackers.base import Tracker
    from reprogram.training.fit import fit
    from reprogram.training.options import FitOptions
    from reprogram.training.results import FitProgress, FitResult

_EXPORTS = {
    "auditing.audit": ("audit",),
    "auditing.beside": ("DefenceComparison",),
    "auditing.report": ("AuditReport",),
    "auditing.verdict": ("Gate",),
    "canvases.base": ("Canvas",),
    "detectors._detect": ("detect", "load_detector"),
    "detectors.base": ("Detector", "Verdict"),
    "errors": (
        "BudgetError",
        "ConfigError",
        "DataError",
        "ExportParityError",
        "HostMismatchError",
        "HostUnavailableError",
        "ProcessLostError",
        "ProgramFileError",
        "ReprogramError",
        "WriteError",
    ),
    "evaluation.bulk": ("FileAnswer", "predict_files"),
    "evaluation.metrics": ("Evaluation", "wilson_interval"),
    "evaluation.predict": ("evaluate",),
    "exporters._export": ("export",),
    "framed": ("Box", "Framed", "Geometry"),
    "hosts._consent": ("authorise",),
    "hosts._factory": ("load_host",),
    "hosts.base": ("Host", "HostInfo", "HostSource"),
    "labelmaps.base": ("LabelMap",),
    "learners.base": ("Learner",),
    "model": ("Reprogrammed", "load"),
    "programfile.share": ("pull", "push"),
    "programs.base": ("Program",),
    "serving.run": ("serve",),
    "runs.tracking": ("Tracking",),
    "serving.shared_host": ("SharedHost",),
    "tasks._factory": ("load_task",),
    "tasks.base": ("Split", "Task", "TaskSource"),
    "trackers.base": ("Tracker",),
    "training.fit": ("fit",),
    "training.options": ("FitOptions",),
    "training.results": ("FitProgress", "FitResult"),
}
"""The public names, by the module that defines or imports them."""

_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "AuditReport",
    "Box",
    "BudgetError",
    "Canvas",
    "ConfigError",
    "DataError",
    "DefenceComparison",
    "Detector",
    "Evaluation",
    "ExportParityError",
    "FileAnswer",
    "FitOptions",
    "FitProgress",
    "FitResult",
    "Framed",
    "Gate",
    "Geometry",
    "Host",
    "HostInfo",
    "HostMismatchError",
    "HostSource",
    "HostUnavailableError",
    "LabelMap",
    "Learner",
    "ProcessLostError",
    "Program",
    "ProgramFileError",
    "ReprogramError",
    "Reprogrammed",
    "SharedHost",
    "Split",
    "Task",
    "TaskSource",
    "Tracker",
    "Tracking",
    "Verdict",
    "WriteError",
    "__version__",
    "audit",
    "authorise",
    "detect",
    "evaluate",
    "export",
    "fit",
    "load",
    "load_detector",
    "load_host",
    "load_task",
    "predict_files",
    "pull",
    "push",
    "serve",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'reprogram' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"reprogram.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
