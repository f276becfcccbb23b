"""The first classes of another task: `first-classes:squares?classes=4`, for hosts with few labels."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reprogram.errors import ConfigError, DataError
from reprogram.registry import configure
from reprogram.tasks._split import SPLITS, Split
from reprogram.tasks.base import Task, TaskSource


class FirstClasses(TaskSource):
    """Another task without all classes but its first ones."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            task: spec of the task; one with `?` of its own goes in brackets.
            classes: how many of its classes are kept.
        """

        task: str
        classes: int = 2

        def __post_init__(self) -> None:
            configure("tasks", self.task)
            if self.classes < 2:
                raise ConfigError(f"classes={self.classes}; a task has two or more")

    @classmethod
    def example(cls) -> Config:
        """Counting to 4."""
        return cls.Config(task="squares(train=160, validation=40, test=40)", classes=4)

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """What the other task needs."""
        variant, options = configure("tasks", config.task)
        paths: list[Path] = variant.needs(options)
        return paths

    def load(self, *, download: bool = False) -> Task:
        """Load the other task, and drop its later classes."""
        variant, options = configure("tasks", self.config.task)
        task: Task = variant(options).load(download=download)
        kept = self.config.classes
        if kept > task.num_classes:
            raise DataError(f"task {task.name}: has {task.num_classes} classes, not {kept}; give fewer")
        train, validation, test = (_below(getattr(task, name), kept) for name in SPLITS)
        return replace(task, train=train, validation=validation, test=test, class_names=task.class_names[:kept])


def _below(split: Split, kept: int) -> Split:
    """The images of the first classes."""
    return split.take(torch.nonzero(split.labels < kept).flatten())
