"""Answers to image files, one after the other: threads decode ahead of the host, and the order is kept."""

import contextlib
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from reprogram.errors import ConfigError, DataError
from reprogram.evaluation.predict import BATCH_SIZE
from reprogram.hosts._told import told
from reprogram.model import Reprogrammed
from reprogram.utils import images as image_files
from reprogram.utils.arguments import checked
from reprogram.utils.image_files import expand

MAX_DECODERS = 4
"""Threads that decode, at the most: each needs up to 12 bytes for each pixel of its file."""


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """The answer to one image file.

    Attributes:
        path: the file.
        label: the task's label; empty where the file can't be read.
        probability: of that label, by the softmax of the task's scores, in [0, 1].
        host: the most probable of the host's own labels, each with `label` and `probability`: as many as it shows, and
            None for a probability that it doesn't show.
        error: why the file can't be read; empty where it was.
    """

    path: Path
    label: str = ""
    probability: float = float("nan")
    host: tuple[dict[str, Any], ...] = ()
    error: str = ""


@checked
def predict_files(
    model: Reprogrammed,
    images: str | Path | Iterable[str | Path],
    *,
    batch_size: int | None = None,
    decoders: int | None = None,
) -> Iterator[FileAnswer]:
    """Answer image files of any number, in their order, in constant memory.

    A file that can't be read gets an answer with an error, and the others are answered all the same.

    Args:
        model: the model.
        images: files, folders, and patterns such as `photos/**/*.jpg`; or one of them. Folders are searched as
            `reprogram predict` does.
        batch_size: images that the host is asked for at a time; None for as many as suit the device.
        decoders: threads that decode files, each with up to 12 bytes of memory a pixel; None for one a core but one,
            `MAX_DECODERS` at the most.

    Yields:
        An answer for each file, as soon as its batch is computed.

    Raises:
        ConfigError: a number of images or threads is below 1.
        DataError: a folder holds no images or can't be listed, or nothing matches a pattern.
    """
    names = [images] if isinstance(images, str | Path) else images
    paths = (path for name in names for path in expand(name))
    yield from answer_paths(model, paths, batch_size=batch_size, decoders=decoders)


def answer_paths(
    model: Reprogrammed, paths: Iterable[Path], *, batch_size: int | None = None, decoders: int | None = None
) -> Iterator[FileAnswer]:
    """The same as `predict_files` for the paths of files, which are taken as they are.

    Args:
        model: the model.
        paths: of image files; a generator isn't read further than two batches ahead.
        batch_size: as there.
        decoders: as there.

    Yields:
        An answer for each file, as soon as its batch is computed.

    Raises:
        ConfigError: a number of images or threads is below 1.
    """
    for name, value in (("batch_size", batch_size), ("decoders", decoders)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}; at least 1 is expected")
    device, size = model.canvas.frame.device, batch_size or usual_batch(model)
    channels, height, width = model.task.shape

    def decode(path: Path) -> UInt8[Tensor, "c h w"]:
        picture = image_files.fit(image_files.read(path), height, width)
        return image_files.to_tensor(picture, channels)

    decoded = _ahead(paths, decode, threads=decoders or _usual_decoders(), ahead=2 * size)
    with contextlib.closing(decoded):
        while batch := list(islice(decoded, size)):
            tensors = [picture for _, picture in batch if isinstance(picture, Tensor)]
            answers = iter(_answers(model, torch.stack(tensors).to(device)) if tensors else ())
            for path, picture in batch:
                answer = next(answers) if isinstance(picture, Tensor) else {"error": str(picture)}
                yield FileAnswer(path=path, **answer)


def usual_batch(model: Reprogrammed) -> int:
    """How many images of a batch suit the device of a model.

    Args:
        model: the model.
    """
    return BATCH_SIZE.get(model.canvas.frame.device.type, BATCH_SIZE["cpu"])


def _usual_decoders() -> int:
    """A core is left to the host: with a decoder on every core of two, a tenth of its throughput was lost."""
    return max(1, min(MAX_DECODERS, (os.cpu_count() or 1) - 1))


def _ahead(paths: Iterable[Path], decode: Any, *, threads: int, ahead: int) -> Generator[tuple[Path, Any], None, None]:
    """Each path with its decoded image, or with the error that says why there is none, in the order of the paths.

    Args:
        paths: of the files.
        decode: makes an image of a path, or raises a `DataError`.
        threads: how many decode at a time.
        ahead: how many images may be decoded, or wait for that, beside the one that is taken.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    pending: deque[tuple[Path, Future[Any]]] = deque()
    try:
        for path in paths:
            pending.append((path, pool.submit(decode, path)))
            if len(pending) > ahead:
                yield _settled(*pending.popleft())
        while pending:
            yield _settled(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _settled(path: Path, future: "Future[Any]") -> tuple[Path, Any]:
    try:
        return path, future.result()
    except DataError as error:
        return path, error


@torch.no_grad()
def _answers(model: Reprogrammed, images: UInt8[Tensor, "b c h w"]) -> list[dict[str, Any]]:
    """The task's and the host's answer to each image of a batch on the model's device."""
    scores = model.host_scores(images)
    best = model.label_map(scores).softmax(dim=1).cpu().max(dim=1)
    host = told(model.host, model.program.host_answer(scores).cpu())
    return [
        {"label": model.task.classes[index], "probability": probability, "host": tuple(top)}
        for index, probability, top in zip(best.indices.tolist(), best.values.tolist(), host, strict=True)
    ]
