"""CIFAR-10: `--data` with torchvision's folder or an .npz file, or a download."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reprogram.errors import DataError
from reprogram.tasks.base import Split, Task, TaskSource, check_labels, from_arrays, split_off

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
MAX_BYTES = 2**31
"""Of an .npz file, unpacked: ten times CIFAR-10."""


class Cifar10(TaskSource):
    """Small photographs, 32×32 RGB, ten classes (Krizhevsky, 2009).

    A tenth of the training images is split off for validation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            data: folder with torchvision's `cifar-10-batches-py`, or an .npz file of x_train, y_train, x_test, y_test
                (n h w c).
            seed: of the validation split.
        """

        data: str = ""
        seed: int = 0

    def load(self, *, download: bool = False) -> Task:
        """Read the images."""
        if not self.config.data and not download:
            raise DataError("cifar10: no images here; give --data DIR (torchvision's files) or FILE.npz, or --download")
        path = Path(self.config.data) if self.config.data else Path.home() / ".cache" / "reprogram"
        train, test = _from_npz(path) if path.suffix == ".npz" else _from_torchvision(path, download)
        train, validation = split_off(train, 0.1, self.config.seed)
        return Task(name="cifar10", train=train, validation=validation, test=test, class_names=CLASSES)


def _from_npz(path: Path) -> tuple[Split, Split]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            size = sum(entry.file_size for entry in arrays.zip.infolist())
            if size > MAX_BYTES:
                raise ValueError(f"{size:,} bytes unpacked; at most {MAX_BYTES:,} are read")
            x_train, y_train, x_test, y_test = (arrays[name] for name in ARRAYS)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give --data DIR or FILE.npz") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
    ) as error:
        raise DataError(f"{path}: can't be read ({error}); it must hold the arrays {', '.join(ARRAYS)}") from None
    splits = []
    for part, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        if images.dtype != np.uint8 or images.ndim != 4 or labels.size != len(images) or labels.dtype.kind not in "iu":
            raise DataError(f"{path}: images must be n x h x w x c, uint8, with a whole number each as label")
        splits.append(from_arrays(images, labels.reshape(-1)))
        check_labels(splits[-1].labels, len(CLASSES), f"{path}: {part}")
    return splits[0], splits[1]


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
