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
    from reprogram.canvases.base import Canvas
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
    from reprogram.evaluation import Evaluation, evaluate, wilson_interval
    from reprogram.fitting import Fit, fit
    from reprogram.framed import Box, Framed, Geometry
    from reprogram.hosts.base import Host, HostInfo, HostSource
    from reprogram.labelmaps.base import LabelMap
    from reprogram.learners.base import Learner
    from reprogram.model import Reprogrammed, load, load_host, load_task
    from reprogram.programs.base import Program
    from reprogram.tasks.base import Split, Task, TaskSource
    from reprogram.tenants import Tenants

_HOMES = {
    "canvases.base": ("Canvas",),
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
    "evaluation": ("Evaluation", "evaluate", "wilson_interval"),
    "fitting": ("Fit", "fit"),
    "framed": ("Box", "Framed", "Geometry"),
    "hosts.base": ("Host", "HostInfo", "HostSource"),
    "labelmaps.base": ("LabelMap",),
    "learners.base": ("Learner",),
    "model": ("Reprogrammed", "load", "load_host", "load_task"),
    "programs.base": ("Program",),
    "tasks.base": ("Split", "Task", "TaskSource"),
    "tenants": ("Tenants",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Box",
    "BudgetError",
    "Canvas",
    "ConfigError",
    "DataError",
    "Evaluation",
    "ExportParityError",
    "Fit",
    "Framed",
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
    "Split",
    "Task",
    "TaskSource",
    "Tenants",
    "WriteError",
    "__version__",
    "evaluate",
    "fit",
    "load",
    "load_host",
    "load_task",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'reprogram' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"reprogram.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
