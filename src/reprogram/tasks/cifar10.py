"""CIFAR-10: `--data` with torchvision's folder or an .npz file, or a download."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reprogram.errors import DataError
from reprogram.tasks._npz import arrays_of
from reprogram.tasks._split import Split, from_arrays, split_off
from reprogram.tasks.base import Task, TaskSource

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Cifar10(TaskSource):
    """Small photographs, 32×32 RGB, ten classes (Krizhevsky, 2009).

    A tenth of the training images is split off for validation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            data: folder with torchvision's `cifar-10-batches-py`, or an .npz file of x_train, y_train, x_test, y_test
                (n × h × w × c).
            seed: decides the validation split.
        """

        data: str = ""
        seed: int = 0

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The folder or file, if the options name one."""
        return [Path(config.data)] if config.data else []

    def load(self, *, download: bool = False) -> Task:
        """Read the images."""
        if not self.config.data and not download:
            raise DataError("cifar10: no images here; give --data DIR (torchvision's files) or FILE.npz, or --download")
        path = Path(self.config.data) if self.config.data else Path.home() / ".cache" / "reprogram"
        train, test = arrays_of(path, CLASSES) if path.suffix == ".npz" else _from_torchvision(path, download)
        train, validation = split_off(train, 0.1, self.config.seed)
        return Task(name="cifar10", train=train, validation=validation, test=test, class_names=CLASSES)


def _from_torchvision(folder: Path, download: bool) -> tuple[Split, Split]:
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(folder, train=part, download=download) for part in (True, False))
    except Exception as error:  # torchvision raises whatever its transport and its files raise.
        raise DataError(
            f"cifar10: {folder} doesn't hold torchvision's intact cifar-10-batches-py ({str(error)[:80]}); "
            "give --data the folder above it, or --download"
        ) from error
    return from_arrays(train.data, np.array(train.targets)), from_arrays(test.data, np.array(test.targets))
