"""Whether a file, run by its own runtime, answers as the model does."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reprogram.errors import ExportParityError
from reprogram.exporters.base import Run
from reprogram.model import Reprogrammed

MAX_ERROR = 1e-4
"""The largest difference of an image's scores, over the largest of its scores."""

BATCHES = (1, 3, 17)
"""Numbers of images that a file is run on, beside the largest."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a check.

    Attributes:
        images: how many different images were compared.
        batches: the numbers of images that the file was run on at once.
        error: the largest relative difference of an image's scores.
    """

    images: int
    batches: tuple[int, ...]
    error: float


def check(run: Run, model: Reprogrammed, images: Tensor, *, largest: int, on_images: Callable[[int], None]) -> Check:
    """Compare a file's answers with the model's, image by image.

    Args:
        run: the file; it takes uint8 images.
        model: the model, on the CPU.
        images: n × c × h × w, uint8; where they are too few for one of each batch, they are taken again.
        largest: the largest batch.
        on_images: called after each batch with the number of images that were compared.

    Returns:
        What was compared.

    Raises:
        ExportParityError: the scores differ by more than `MAX_ERROR`, or a label does; or the file can't be run.
    """
    worst, done = 0.0, 0
    batches = tuple(sorted({*BATCHES, largest}))
    for batch in _batches(images, batches):
        with torch.no_grad():
            ours = model(batch).float().numpy()
        try:
            theirs, *host_answers = run(batch.numpy())
        except Exception as error:  # A runtime raises whatever it meets.
            reason = " ".join(str(error).split())[:200]
            raise ExportParityError(f"its runtime can't run it on {len(batch)} images: {reason}") from None
        worst = max(worst, _compare(ours, theirs, len(batch)))
        if host_answers:
            with torch.no_grad():
                probabilities = model.program.host_answer(model.host_scores(batch)).float().softmax(dim=1).numpy()
            _compare_host(probabilities, *host_answers)
        done += len(batch)
        on_images(min(done, len(images)))
    return Check(images=len(images), batches=batches, error=worst)


def _batches(images: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    """A batch of each size, and then the other images in batches of the largest size."""
    start = 0
    for size in itertools.chain(sizes, itertools.repeat(sizes[-1])):
        if start >= len(images) and start >= sum(sizes):
            return
        index = torch.arange(start, start + size)
        yield images[index % len(images) if start < sum(sizes) else index[index < len(images)]]
        start += size


def _compare(ours: NDArray[Any], theirs: NDArray[Any], size: int) -> float:
    """The largest relative difference of an image's scores; refuses differences."""
    if theirs.shape != ours.shape:
        raise ExportParityError(f"of {size} images it gives scores of shape {theirs.shape} instead of {ours.shape}")
    a, b = np.asarray(theirs, dtype=np.float64), np.asarray(ours, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b)).max(axis=1)
        scale = np.abs(np.where(np.isfinite(b), b, 0)).max(axis=1)
        errors = difference / np.maximum(scale, np.finfo(np.float32).tiny)
    error = float(errors.max())
    if not error <= MAX_ERROR:
        raise ExportParityError(
            f"in a batch of {size} its scores differ from the model's by {error:.1e} of the largest; "
            f"{MAX_ERROR:.0e} is allowed"
        )
    wrong = int((a.argmax(axis=1) != b.argmax(axis=1)).sum())
    if wrong:
        raise ExportParityError(f"{wrong} of {size} images get another label than by the model")
    return error


def _compare_host(probabilities: NDArray[Any], labels: NDArray[Any], theirs: NDArray[Any]) -> None:
    """Refuse the host's top answers where they aren't the most probable ones, or not in order."""
    ours = np.take_along_axis(probabilities, np.asarray(labels, dtype=np.int64), axis=1)
    best = -np.sort(-probabilities, axis=1)[:, : labels.shape[1]]
    if max(np.abs(ours - theirs).max(), np.abs(best - theirs).max()) > MAX_ERROR:
        raise ExportParityError("the host's own top answers differ from those of the model's host")
