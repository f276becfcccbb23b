"""Images as arrays in an .npz file: `arrays:FILE` with x_train, y_train, x_test, y_test."""

from dataclasses import dataclass
from pathlib import Path

from reprogram.errors import ConfigError, DataError
from reprogram.tasks._npz import arrays_of
from reprogram.tasks._split import MAX_CLASSES, split_off
from reprogram.tasks.base import Task, TaskSource


class Arrays(TaskSource):
    """Any data set in the form of NumPy arrays; the task is named after its file.

    A tenth of the training images is split off for validation. Classes are named by their numbers.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            path: of the .npz file: x_train and x_test are n × h × w × c or n × h × w, uint8; y_train and y_test are
                whole numbers from 0 on.
            seed: decides the validation split.
        """

        path: str
        seed: int = 0

        def __post_init__(self) -> None:
            if not self.path:
                raise ConfigError("no path; give arrays:FILE.npz")

    @classmethod
    def example(cls) -> Config:
        """A file that tests write first."""
        return cls.Config(path="example.npz")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The .npz file."""
        return [Path(config.path)]

    def load(self, *, download: bool = False) -> Task:
        """Read the images."""
        path = Path(self.config.path)
        train, test = arrays_of(path)
        largest = max((int(split.labels.max()) for split in (train, test) if len(split)), default=0)
        if largest >= MAX_CLASSES:
            raise DataError(f"{path}: holds the label {largest}; labels are class indices from 0 to {MAX_CLASSES - 1}")
        classes = tuple(map(str, range(largest + 1)))
        train, validation = split_off(train, 0.1, self.config.seed)
        return Task(name=f"arrays:{path.stem}", train=train, validation=validation, test=test, class_names=classes)
