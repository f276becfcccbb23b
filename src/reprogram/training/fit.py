"""`reprogram.fit`: learn a model's program."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from reprogram.adapter import require_listed
from reprogram.augmentations.base import Augmentation
from reprogram.errors import ConfigError
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.registry import Component, configure, format_spec
from reprogram.tasks.base import Task
from reprogram.training.answers import answers_beside
from reprogram.training.checkpoint import Interval
from reprogram.training.compatibility import check_fit, settled_learner
from reprogram.training.losses import loss_named, settled
from reprogram.training.notebook import NotebookLine, is_notebook
from reprogram.training.options import FitOptions, resume_key, with_changes
from reprogram.training.processes import learning_together, num_processes
from reprogram.training.results import FitProgress, FitResult
from reprogram.training.signals import held_signals
from reprogram.training.state import TrainStateSaver
from reprogram.training.trainer import Trainer
from reprogram.utils.distributed import process_group
from reprogram.utils.signature import takes_options

T = TypeVar("T", bound=Component)


@takes_options(FitOptions)
def fit(
    model: Reprogrammed,
    task: Task,
    options: FitOptions | None = None,
    *,
    checkpoint: str | Path | None = None,
    on_progress: Callable[[FitProgress], None] | None = None,
    on_validation: Callable[[FitProgress], None] | None = None,
    processes: int = 1,
    **changes: Any,
) -> FitResult:
    """Learn a model's program; the test split isn't looked at.

    Where torchrun started several processes, or `torch.distributed` is set up, these learn one program together: each
    computes its shard of every batch. On a CPU under Linux this process and forks of it can do the same.

    Args:
        model: the model; its program and its label map are learned in place, its host isn't touched.
        task: the task; its train and validation splits are used.
        options: how the program is learned; every field of `FitOptions` is a keyword too, and counts more.
        checkpoint: a file that holds the run's state; where it is there, the run goes on from it. With it, SIGINT,
            SIGTERM and SIGHUP save the state before they end the run.
        on_progress: called after every step, in the main process. Without it, a line under the cell shows the progress
            in a notebook.
        on_validation: called after every batch of a validation, in the main process.
        processes: on a CPU, the most processes of one thread that learn together: this one and its forks, which end
            with the learning. One learns alone, with torch's threads, where more couldn't come to the same numbers and
            the same bill. With the same `num_microbatches` and one thread of torch the program doesn't depend on it.
        **changes: values for the fields of `FitOptions`, which are:
        {options}

    Returns:
        The result; the model holds the selected program.

    Raises:
        ConfigError: the host gives less than the learner needs, model and task differ, or the checkpoint belongs to
            another run.
        BudgetError: the budget isn't positive.
        DataError: a loss or gradient isn't finite, which is found before it updates anything; the model then holds the
            best program so far, the checkpoint the last good state. Or the checkpoint is damaged or can't be written.
        ExportParityError: the engine's scores or gradients aren't those of the host's own module.
        ProcessLostError: another process of the job is gone.
    """
    _begin(model, task)
    components = {name: value for name, value in changes.items() if isinstance(value, Component)}
    specs = {name: format_spec(value) for name, value in components.items()}
    if "loss" in components:
        require_listed("losses", components["loss"])  # A loss is looked up by its spec in every process.
    options = with_changes(options or FitOptions(), {**changes, **specs})
    learner = _build("learners", Learner, components.get("learner", options.learner))
    if (settled_spec := settled_learner(format_spec(learner), learner.access, model)) != format_spec(learner):
        learner = _build("learners", Learner, settled_spec)
    augmentation = _build("augmentations", Augmentation, components.get("augmentation", options.augmentation))
    options = dataclasses.replace(
        options,
        learner=format_spec(learner),
        augmentation=format_spec(augmentation),
        loss=settled(options.loss, model.label_map),
    )
    check_fit(options, learner, loss_named(options.loss), model, task)
    if options.price is not None:
        model.host.meter.price = options.price
    if on_progress is None and is_notebook():
        on_progress = line = NotebookLine()
        on_validation = on_validation or line
    key, interval = resume_key(model, options), Interval.parse(options.checkpoint_every)
    saver = TrainStateSaver(model, learner, key, checkpoint, interval)
    count = num_processes(processes, model, type(learner), options, num_train=len(task.train))
    if count > 1:
        count = min(count, saver.num_microbatches() or count)
    with (
        held_signals(checkpoint is not None) as pending,
        process_group(model.canvas.frame.device) as launched,
        model.host.in_precision(options.precision),
        answers_beside(checkpoint if launched.size == 1 else None, model.host, key),
        learning_together(launched, count) as group,
        _in_training_mode(model.program, model.label_map),
        torch.inference_mode(False),
        torch.enable_grad(),  # A caller may have switched gradients off.
    ):
        told: dict[str, Any] = {"on_progress": on_progress, "on_validation": on_validation}
        return Trainer(model, task, options, learner, augmentation, saver=saver, group=group, **told).run(pending)


def _begin(model: object, task: object) -> None:
    """Refuse what is no model or no task; forget losses, whose files may hold something else than in an earlier run."""
    if not isinstance(model, Reprogrammed):
        raise ConfigError(
            f"a {type(model).__name__} is no model; give what Reprogrammed.build or reprogram.load returns"
        )
    if not isinstance(task, Task):
        raise ConfigError(f"a {type(task).__name__} is no task; give a Task, such as reprogram.load_task returns")
    loss_named.cache_clear()


@contextlib.contextmanager
def _in_training_mode(*parts: nn.Module) -> Iterator[None]:
    """In the block the parts are in training mode, but for validations; behind it in evaluation mode."""
    for part in parts:
        part.train()
    try:
        yield
    finally:
        for part in parts:
            part.eval()


def _build(family: str, base: type[T], component: Component | str) -> T:
    """A component as it is, or the one that a spec stands for."""
    if isinstance(component, str):
        variant, config = configure(family, component)
        component = cast(T, variant(config))
    if not isinstance(component, base):
        raise ConfigError(f"{component.name()!r} is no {base.__name__}; give one, or its spec")
    return component
