"""The first classes of another task: `first-classes:squares?classes=4`, for hosts with few labels."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reprogram.errors import ConfigError, DataError
from reprogram.tasks._factory import task_source
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
            data: the path of its files, for a task that takes such an option.
            skip_bad: go on without files that can't be read, for a task that takes such an option.
        """

        task: str
        classes: int = 2
        data: str = ""
        skip_bad: bool = False

        def __post_init__(self) -> None:
            _source(self)
            if self.classes < 2:
                raise ConfigError(f"classes={self.classes}; a task has two or more")

    @classmethod
    def example(cls) -> Config:
        """Counting to 4."""
        return cls.Config(task="squares(train=160, validation=40, test=40)", classes=4)

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """What the other task needs."""
        source = _source(config)
        return source.needs(source.config)

    def depends_on_download(self) -> bool:
        """Whether the other task does."""
        return _source(self.config).depends_on_download()

    def takes_size(self) -> bool:
        """Whether the other task does."""
        return _source(self.config).takes_size()

    def load(self, *, download: bool = False) -> Task:
        """Load the other task, and drop its later classes."""
        source = _source(self.config)
        source.size_of_unequal, source.image_shape = self.size_of_unequal, self.image_shape
        task = source.load(download=download)
        kept = self.config.classes
        if kept > task.num_classes:
            raise DataError(f"task {task.name}: has {task.num_classes} classes, not {kept}; give fewer")
        name = task.name if kept == task.num_classes else f"{task.name} (first {kept} classes)"
        train, validation, test = (_below(getattr(task, split), kept) for split in SPLITS)
        return replace(
            task, name=name, train=train, validation=validation, test=test, class_names=task.class_names[:kept]
        )


def _source(config: FirstClasses.Config) -> TaskSource:
    """The other task's source."""
    return task_source(config.task, data=config.data, skip_bad=config.skip_bad)


def _below(split: Split, kept: int) -> Split:
    """The images of the first classes."""
    return split.take(torch.nonzero(split.labels < kept).flatten())
