"""Images to try a program with: from a folder that the server's owner names, or from a task that needs no file."""

import stat
from collections.abc import Sequence
from pathlib import Path

from reprogram.errors import DataError, ReprogramError
from reprogram.model import Reprogrammed
from reprogram.tasks._factory import load_task
from reprogram.utils.image_files import list_images
from reprogram.utils.images import MAX_PIXELS, read_bytes, to_png

BUILT_IN = ("squares", "digits")
"""Tasks that are there without any file, so that a stranger's program file may name them."""

MOST = 12
MOST_BYTES = 2 * 2**20
"""Samples of a program or a folder, and the bytes of one."""

Sample = tuple[str, bytes]
"""A caption, and the image file."""


def of_task(model: Reprogrammed) -> list[Sample]:
    """The first test image of each class, for programs of built-in tasks.

    Args:
        model: the program with its host.

    Returns:
        Samples; none where the task isn't built in, or has other images or classes here.
    """
    name = model.task.name
    if name not in BUILT_IN:
        return []
    try:
        task = load_task("squares(train=10, validation=10, test=200)" if name == "squares" else name)
    except ReprogramError:
        return []
    if task.class_names != model.task.classes or task.image_shape != model.task.shape:
        return []
    labels = task.test.labels.tolist()
    firsts = sorted({label: labels.index(label) for label in labels}.items())[:MOST]
    return [(task.class_names[label], to_png(task.test.images[index].float() / 255)) for label, index in firsts]


def of_folder(folder: Path) -> list[Sample]:
    """The first images of a folder.

    Args:
        folder: that the server's owner names.

    Raises:
        DataError: there are none, or one can't be read.
    """
    paths: Sequence[Path] = list_images(folder)[:MOST]
    if not paths:
        raise DataError(f"{folder}: the folder holds no images; give one with samples")
    samples = []
    for path in paths:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is no ordinary file; samples are image files")
        content = path.read_bytes() if status.st_size <= MOST_BYTES else b""
        if not content:
            raise DataError(f"{path}: is empty or has more than {MOST_BYTES:,} bytes; samples are small")
        read_bytes(content, most_pixels=MAX_PIXELS, name=str(path))
        samples.append((path.stem, content))
    return samples
