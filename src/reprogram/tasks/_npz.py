"""Read the images and labels of training and test split from one .npz file."""

import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogram.errors import DataError
from reprogram.tasks._split import MOST_CHANNELS, Split, check_labels, from_arrays
from reprogram.utils.text import printable

ARRAYS = ("x_train", "y_train", "x_test", "y_test")

MAX_BYTES = 2**31
"""The largest size of an .npz file, unpacked: ten times CIFAR-10."""


def arrays_of(path: Path, classes: tuple[str, ...] | None = None) -> tuple[Split, Split]:
    """The training and test images of a file with the arrays x_train, y_train, x_test and y_test.

    Images are n × h × w × c or n × h × w, uint8; labels are n whole numbers.

    Args:
        path: of the .npz file; nothing in it is unpickled.
        classes: the class names that labels are indices of; None takes any labels from 0 on.

    Returns:
        The training and the test split.

    Raises:
        DataError: the file is missing, damaged or too large, or holds other arrays.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # A pipe would be waited for.
            raise ValueError("it isn't an ordinary file")
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise ValueError("it isn't a zip archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                _check_members(arrays.zip.infolist())
                x_train, y_train, x_test, y_test = (_array(arrays, name) for name in ARRAYS)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the path of an .npz file") from None
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; it must hold the arrays {', '.join(ARRAYS)}") from None
    except Exception as error:  # zipfile, its decompressors and NumPy's header reader raise whatever they meet.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(
            f"{path}: damaged, or no .npz file ({printable(reason)[:120]}); it must hold the arrays {', '.join(ARRAYS)}"
        ) from None
    splits = []
    for part, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise DataError(f"{path}: x_{part} is {_kind(images)}; images must be n x h x w or n x h x w x c, uint8")
        if images.ndim == 4 and images.shape[3] > MOST_CHANNELS and images.shape[1] in (1, 3, 4):
            raise DataError(f"{path}: x_{part} is {_kind(images)}, channels first; images must be n x h x w x c")
        if labels.size != len(images) or labels.dtype.kind not in "iu":
            what = f"a whole number for each of {len(images)} images is expected"
            raise DataError(f"{path}: y_{part} is {_kind(labels)}; {what}")
        if labels.size and labels.max() > np.iinfo(np.int64).max:
            raise DataError(f"{path}: y_{part} holds the label {labels.max()}; labels are class indices from 0")
        splits.append(from_arrays(images, labels.reshape(-1)))
        if classes is not None:
            check_labels(splits[-1].labels, len(classes), f"{path}: {part}")
    return splits[0], splits[1]


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that is too large, or holds two files of one name, of which readers take either."""
    size = sum(member.file_size for member in members)
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes unpacked; at most {MAX_BYTES:,} are read")
    names = Counter(member.filename.removesuffix(".npy") for member in members)
    for name in ARRAYS:
        if names[name] > 1:
            raise ValueError(f"it holds {name} {names[name]} times")


def _array(arrays: Any, name: str) -> NDArray[Any]:
    """An array of an archive; NumPy gives the bytes of what isn't one."""
    array = arrays[name]
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is no array")
    return array


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"
