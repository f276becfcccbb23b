"""What a host is asked for a detector that reads answers, and detectors by spec or file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reprogram.detectors._checks import checked_image
from reprogram.detectors.base import Array, Detector, Verdict
from reprogram.errors import ConfigError, DataError
from reprogram.registry import configure, format_spec
from reprogram.utils.arguments import checked
from reprogram.utils.files import exists, user_path

if TYPE_CHECKING:
    from reprogram.hosts.base import Host

BATCH = 32
"""Images that a host is asked for at once."""


@checked
def load_detector(spec: str | Path | Detector) -> Detector:
    """A detector by its spec, or from the file that `Detector.save` wrote.

    Args:
        spec: such as `repeated-border(share=0.6)`, or the path of a file, with a dot or a folder in its name; a
            detector stays what it is.

    Raises:
        ConfigError: the spec is wrong.
        DataError: the file is damaged.
    """
    if isinstance(spec, Detector):
        return spec
    if isinstance(spec, Path) or names_file(spec):
        return Detector.load(spec)
    variant, config = configure("detectors", spec)
    detector: Detector = variant(config)
    return detector


def continued(detector: Detector, path: str | Path) -> Detector:
    """The detector as a file remembers it, or as it is where there is no such file.

    Args:
        detector: a detector; its threshold counts where it was set for it, as by `calibrate`, else the file's.
        path: of the file that `Detector.save` wrote, with state and threshold.

    Raises:
        ConfigError: the file holds another detector, or one with other options, or that learned other things.
        DataError: it is damaged.
    """
    if not exists(user_path(path)):
        return detector
    known = load_detector(user_path(path))
    if format_spec(known) != format_spec(detector):
        raise ConfigError(
            f"{path}: holds {format_spec(known)}, not {format_spec(detector)}; give the same detector, or another file"
        )
    if detector.num_calibrated or detector.threshold != load_detector(format_spec(detector)).threshold:
        take_threshold(known, detector, path)
    return known


def take_threshold(known: Detector, detector: Detector, path: str | Path) -> None:
    """Give a detector that a file remembers the threshold of another one, where it has a different one.

    Args:
        known: the detector of the file; it is changed.
        detector: the one whose threshold counts.
        path: the file's, for errors.

    Raises:
        ConfigError: what the file's detector learned belongs to its threshold.
    """
    if known.threshold == detector.threshold:
        return
    if known.fits:
        raise ConfigError(f"{path}: was calibrated otherwise than the detector; choose another file or folder")
    known.threshold, known.false_positive_rate = detector.threshold, detector.false_positive_rate
    known.num_calibrated = detector.num_calibrated


def names_file(spec: str) -> bool:
    """Whether a text names a file, and no detector by its name.

    Args:
        spec: what `load_detector` takes.
    """
    there = "(" not in spec and ("." in spec or "/" in spec) and exists(user_path(spec))
    return spec.endswith(".safetensors") or there


def host_answers(host: "Host", reads: str, images: Array) -> Array:
    """What a host says to images, as a detector reads it.

    Args:
        host: the host.
        reads: "scores" or "features".
        images: b × C × H × W of the host's size, uint8.

    Returns:
        b × K scores or b × d features, float64.

    Raises:
        ConfigError: the images don't fit the host, or it shows no features.
    """
    import torch

    device = host.mean.device
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).to(device)
            unit = pixels.to(host.mean.dtype) / 255
            part, where = (host(unit), "") if reads == "scores" else host.features(unit)
            if where == "scores":
                raise ConfigError(
                    f"{host.info.id}: shows no features of a last layer, which the detector reads; give the host "
                    "itself, or a detector of scores"
                )
            parts.append(part.double().cpu().numpy())
    return np.concatenate(parts)


@checked
def detect(
    detector: str | Path | Detector,
    images: Iterable[Any],
    accounts: str | Sequence[str] = "",
    *,
    answers: Iterable[Any] | None = None,
    host: "Host | str | None" = None,
) -> list[Verdict]:
    """Read queries in their order, and say to each whether it looks like a program.

    Args:
        detector: a detector, its spec, or the path of its file.
        images: C × H × W pixels each, uint8, or a tensor or array of b × C × H × W.
        accounts: who sent each image; one text for all.
        answers: the host's scores or features of each image, where the detector reads them.
        host: is asked for them where `answers` aren't given; a host, or its spec.

    Returns:
        Score and alarm of each image. A detector that is given as an object remembers what it saw.

    Raises:
        ConfigError: the detector has no threshold, or reads answers and is given neither them nor a host.
        DataError: an image, an answer or the number of accounts is wrong.
    """
    reader = load_detector(detector)
    pixels = [checked_image(image) for image in images]
    names = [accounts] * len(pixels) if isinstance(accounts, str) else list(accounts)
    if reader.reads != "image" and answers is None:
        if host is None:
            raise ConfigError(f"{reader.name()}: reads the host's {reader.reads}; give answers= or host=")
        answers = _asked(host, reader.reads, pixels)
    given = [None] * len(pixels) if answers is None else list(answers)
    if not len(names) == len(given) == len(pixels):
        raise DataError(f"{len(pixels)} images, {len(names)} accounts and {len(given)} answers; give as many of each")
    return [reader.observe(*query) for query in zip(pixels, names, given, strict=True)]


def _asked(host: "Host | str", reads: str, pixels: list[Array]) -> list[Array]:
    """The host's answers to images of its own size."""
    if isinstance(host, str):
        from reprogram.hosts._factory import load_host

        host = load_host(host)
    wrong = next((p.shape for p in pixels if p.shape != host.info.shape), None)
    if wrong is not None:
        raise DataError(f"an image of shape {wrong}; the host takes {host.info.shape}, resize it")
    return list(host_answers(host, reads, np.stack(pixels))) if pixels else []
