"""Ask an image processor of transformers what it does to pixels: it is shown images, and its answers are read.

What a processor does is decided by its class, its defaults and its file together; what it gives for images of one
colour and for a ramp shows all of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reprogram.errors import ConfigError
from reprogram.hosts._naming import one_line

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers of resampling filters, by which a processor names an interpolation."""

RAMP = 256
"""Height and width in pixels of the images that a processor is shown: a level of grey for each column."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes by the number of channels."""

TOLERANCE = 1e-3
"""The largest difference of an answer from a linear function of the pixels, in parts of its range."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a processor does: scores of a photograph are those of its central part, resized and normalised.

    Attributes:
        size: height and width of the model's input, in pixels.
        crop: the part of a photograph's shorter side that is kept.
        mean: subtracted from [0, 1] pixels, one value per channel of the host.
        std: divides the difference, one value per channel of the host.
        reverse: whether the model takes the channels in reverse order, blue first.
        interpolation: how photographs are resized.
    """

    size: tuple[int, int]
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse: bool
    interpolation: str


def measure(processor: Any, channels: int, where: str, image_size: Any = None) -> Preprocessing:
    """Read from an image processor's answers what it does.

    Args:
        processor: an image processor of transformers.
        channels: the number of channels of the model's input.
        where: the model, for errors.
        image_size: the model's own statement of its input's size, for a processor that leaves the size as it is.

    Raises:
        ConfigError: it gives no images, or does other than resizing, cropping, a linear function of each channel and
            an exchange of red and blue; the message names the option that does it where that can be found.
    """
    if channels not in MODES:
        raise ConfigError(f"{where}: {channels} channels; its image processor can be shown 1, 3 or 4 alone")
    try:
        with np.errstate(all="ignore"):
            levels, size = _levels(processor, channels)
            mean, std, reverse = _linear(levels)
            larger = _answer(processor, np.zeros((RAMP + 8, RAMP + 8, channels), np.uint8)).shape[1:]
            size = size if larger == size else _stated_size(image_size)
            crop = _crop(processor, channels, size)
    except _OddError as error:
        name = type(processor).__name__
        with np.errstate(all="ignore"):
            option = _culprit(processor, channels)
        named = f"its option {option} does what a host can't ({error})" if option else f"{name} {error}"
        raise ConfigError(
            f"{where}: preprocessor_config.json: {named}; only resizing, cropping and a linear "
            "normalisation of channels can be applied"
        ) from None
    stated = _stated(processor, mean, std, reverse)
    return Preprocessing(
        size=size,
        crop=crop,
        mean=stated[0],
        std=stated[1],
        reverse=reverse,
        interpolation=_interpolation(getattr(processor, "resample", None)),
    )


class _OddError(Exception):
    """A processor does what a host can't."""


def _answer(processor: Any, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a processor gives for an H × W × C image of bytes: C × h × w."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    try:
        record = processor(images=image, return_tensors="pt")
    except Exception as error:  # A processor raises whatever its options make it raise.
        raise _OddError(f"fails ({one_line(error)})") from None
    values = record.get("pixel_values")
    shape = tuple(getattr(values, "shape", ()))
    if len(shape) != 4 or shape[:2] != (1, pixels.shape[2]):
        raise _OddError(f"gives {', '.join(record)} of shape {shape}, not one image of {pixels.shape[2]} channels")
    answer: np.ndarray[Any, Any] = values[0].double().numpy()
    return answer


def _levels(processor: Any, channels: int) -> tuple[list[tuple[Any, Any]], tuple[int, int]]:
    """The colours of images of one colour with those of the answers, and the answers' height and width."""
    generator = np.random.default_rng(0)
    colours = [np.zeros(channels), np.full(channels, 255), *generator.integers(0, 256, (6, channels))]
    levels, size = [], (0, 0)
    for colour in colours:
        image = np.broadcast_to(colour.astype(np.uint8), (RAMP, RAMP, channels)).copy()
        answer = _answer(processor, image)
        size = answer.shape[1], answer.shape[2]
        flat = answer.reshape(channels, -1)
        if np.ptp(flat, axis=1).max() > TOLERANCE * max(1.0, float(np.abs(flat).max())):
            raise _OddError("adds a border or a pattern")
        levels.append((colour / 255, flat.mean(axis=1)))
    return levels, size


def _linear(levels: list[tuple[Any, Any]]) -> tuple[Any, Any, bool]:
    """Mean and standard deviation of the host's channels, and whether the model takes them in reverse order."""
    low, high = levels[0][1], levels[1][1]
    gain = high - low
    if not np.isfinite(gain).all() or (gain <= 0).any():
        raise _OddError("isn't a rising function of the pixels")
    for reverse in (False, True):
        step = -1 if reverse else 1
        errors = [np.abs(answer - low - gain * colour[::step]).max() for colour, answer in levels]
        if max(errors) <= TOLERANCE * gain.max():
            # answer = low + gain p = (p + low / gain) / (1 / gain)
            return (-low / gain)[::step], (1 / gain)[::step], reverse
    raise _OddError("isn't a linear function of each channel")


def _crop(processor: Any, channels: int, size: tuple[int, int]) -> float:
    """The part of a photograph's shorter side that is kept: from the steepness of a ramp."""
    ramp = np.arange(RAMP, dtype=np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (RAMP, RAMP, channels)).copy()
    black, white = (_answer(processor, np.full_like(image, level))[0].mean() for level in (0, 255))
    answer = (_answer(processor, image)[0].mean(axis=0) - black) / (white - black) * 255
    width = len(answer)
    inner = slice(width // 8, width - width // 8)
    columns = np.arange(width)[inner]
    if len(columns) < 2 or getattr(processor, "do_resize", True) is False:
        return 1.0
    slope = np.polyfit(columns, answer[inner], 1)[0]
    # RAMP / slope: the width of the whole photograph after resizing
    whole = round(RAMP / slope) if slope > 0 else width
    return min(1.0, min(size) / max(whole, 1)) if size[0] == size[1] else 1.0


def _stated(processor: Any, mean: Any, std: Any, reverse: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation to the last digit where the processor states them, else as they were measured.

    (255 p · factor - mean) / std = (p - mean / (255 factor)) / (std / (255 factor)).
    """
    rescales, normalises = (getattr(processor, name, True) for name in ("do_rescale", "do_normalize"))
    # 255 factor
    scale = 255 * (getattr(processor, "rescale_factor", None) or 1 / 255) if rescales else 255.0
    offset = 1.0 if rescales and getattr(processor, "rescale_offset", False) else 0.0
    step = -1 if reverse else 1

    def values(name: str, default: float) -> list[float]:
        stated = getattr(processor, name, None) if normalises else None
        listed = list(stated) if isinstance(stated, list | tuple) else [default if stated is None else stated]
        return [float(value) for value in (listed * len(mean) if len(listed) == 1 else listed)][::step]

    means = tuple((value + offset) / scale for value in values("image_mean", 0.0))
    stds = tuple(value / scale for value in values("image_std", 1.0))
    near = len(means) == len(stds) == len(mean) and bool(
        np.allclose(means, mean, rtol=1e-4, atol=1e-5) and np.allclose(stds, std, rtol=1e-4, atol=0)
    )
    return (means, stds) if near else (_rounded(mean), _rounded(std))


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") + 0.0 for value in values)


def _culprit(processor: Any, channels: int) -> str:
    """The option without which a processor does what a host can do; empty where none is found."""
    name: str
    for name, value in sorted(vars(processor).items()):
        if value is True:
            setattr(processor, name, False)
            try:
                _linear(_levels(processor, channels)[0])
            except _OddError:
                continue
            finally:
                setattr(processor, name, True)
            return name
    return ""


def _stated_size(image_size: Any) -> tuple[int, int]:
    """Height and width that a model's configuration states."""
    pair = [image_size, image_size] if isinstance(image_size, int) else image_size
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise _OddError("leaves images of any size as they are, and config.json states no image_size")
    return pair[0], pair[1]


def _interpolation(resample: Any) -> str:
    """The name of a resampling filter, which a processor names by Pillow's number or by a word."""
    value = getattr(resample, "value", resample)
    return value if value in RESAMPLE.values() else RESAMPLE.get(value if isinstance(value, int) else 2, "bilinear")
