"""Read the images and labels of training and test split from one .npz file."""

from pathlib import Path

import numpy as np

from reprogram.errors import DataError
from reprogram.tasks._split import Split, check_labels, from_arrays

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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            size = sum(entry.file_size for entry in arrays.zip.infolist())
            if size > MAX_BYTES:
                raise ValueError(f"{size:,} bytes unpacked; at most {MAX_BYTES:,} are read")
            x_train, y_train, x_test, y_test = (arrays[name] for name in ARRAYS)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the path of an .npz file") from None
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; it must hold the arrays {', '.join(ARRAYS)}") from None
    except Exception as error:  # zipfile, its decompressors and NumPy's header reader raise whatever they meet.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(
            f"{path}: damaged, or no .npz file ({reason[:120]}); it must hold the arrays {', '.join(ARRAYS)}"
        ) from None
    splits = []
    for part, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or labels.size != len(images)
            or labels.dtype.kind not in "iu"
        ):
            raise DataError(f"{path}: images must be n x h x w x c, uint8, with a whole number each as label")
        splits.append(from_arrays(images, labels.reshape(-1)))
        if classes is not None:
            check_labels(splits[-1].labels, len(classes), f"{path}: {part}")
    return splits[0], splits[1]
