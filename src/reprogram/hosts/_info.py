"""The record of a host."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from reprogram.errors import ConfigError
from reprogram.types import Access
from reprogram.utils.messages import nearest, shown
from reprogram.utils.text import html_table, printable, shortened

if TYPE_CHECKING:
    from torch import Tensor

MAX_SIZE = 4096
MAX_COUNT = 100_000
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_UNIT, MIN_STD = 2.0, 1e-6
"""The largest absolute mean or std, and the smallest std, that are taken for those of pixels in [0, 1]."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming", "random")
"""The known ways to resize photographs; timm's "random" is bicubic here."""
NO_LICENCE = "random weights: none"
"""The licence of weights that nobody trained."""


@dataclass(frozen=True, kw_only=True)
class HostInfo:
    """The record of a host.

    Attributes:
        id: the spec that builds it.
        num_classes: K.
        size: height and width of its input, in pixels.
        channels: C, the number of channels of its input.
        mean: subtracted from [0, 1] pixels, one value per channel.
        std: divides the difference, one value per channel.
        interpolation: how photographs are resized for it.
        crop: the part of a photograph's shorter side that its central crop keeps.
        class_names: its K labels, or None where they have no names.
        licence: the weights' licence.
        access: the most that a caller gets: gradients, scores, or less.

    Raises:
        ConfigError: a number or name can't be what it stands for, such as a mean of pixels from 0 to 255.
    """

    id: str
    num_classes: int
    size: tuple[int, int]
    channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop: float = 0.875
    class_names: tuple[str, ...] | None = None
    licence: str = "unknown"
    access: Access = "gradient"

    def __post_init__(self) -> None:
        self._check_types()
        if self.num_classes < 1 or not all(1 <= number <= MAX_SIZE for number in self.shape):
            expected = f"1 class at least, and channels, height and width from 1 to {MAX_SIZE}, are expected"
            raise ConfigError(f"host {self.id}: {self.num_classes} classes, input {self.shape}; {expected}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ConfigError(f"host {self.id}: mean and std need {self.channels} values, one a channel")
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ConfigError(f"host {self.id}: mean {self.mean} and std {self.std} must be finite numbers")
        if min(self.std) < MIN_STD:
            raise ConfigError(f"host {self.id}: std {self.std} holds a value that isn't positive, or below {MIN_STD}")
        if is_mixed(self.mean, self.std):
            raise ConfigError(
                f"host {self.id}: of mean {self.mean} and std {self.std}, one is of pixels from 0 to 255 and the other "
                "isn't; state both for pixels in [0, 1]"
            )
        if is_of_bytes(self.mean, self.std):
            raise ConfigError(
                f"host {self.id}: mean {self.mean} and std {self.std} are of pixels from 0 to 255; pixels lie in "
                "[0, 1] here: divide both by 255"
            )
        if not 0 < self.crop <= 1:
            raise ConfigError(f"host {self.id}: crop={self.crop}; a part in (0, 1] is expected")
        if self.interpolation not in INTERPOLATIONS:
            advice = nearest(self.interpolation, INTERPOLATIONS)
            raise ConfigError(f"host {self.id}: no interpolation {self.interpolation!r}; {advice}")
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ConfigError(f"host {self.id}: {len(self.class_names)} class names for {self.num_classes} classes")

    def _check_types(self) -> None:
        """Refuse what a source of one's own, or a caller, may have given in another type."""
        if not isinstance(self.id, str):
            raise ConfigError(f"host {self.id!r}: its id must be text, the spec that builds it")
        pair = isinstance(self.size, Sequence) and len(self.size) == 2
        if not pair or not all(isinstance(n, Integral) for n in (self.num_classes, self.channels, *self.size)):
            given = f"num_classes={shown(self.num_classes)}, channels={shown(self.channels)}, size={shown(self.size)}"
            raise ConfigError(f"host {self.id}: {given}; whole numbers are expected, and two for size")
        numbers: dict[str, Any] = {"mean": self.mean, "std": self.std, "crop": (self.crop,)}
        for name, values in numbers.items():
            if not isinstance(values, Iterable) or not all(isinstance(value, Real) for value in values):
                raise ConfigError(f"host {self.id}: {name}={shown(getattr(self, name))}; numbers are expected")
        if any(not isinstance(name, str) for name in self.class_names or ()):
            raise ConfigError(f"host {self.id}: class_names must be texts")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input image: C, H, W."""
        return self.channels, *self.size

    def facts(self) -> dict[str, str]:
        """What people want to know of a host, by what it is; of many class names the first few."""
        names = f": {shortened(self.class_names, 5)}" if self.class_names else ""
        return {
            "input": " × ".join(map(str, self.shape)),
            "classes": f"{self.num_classes:,}{names}",
            "mean": ", ".join(f"{value:g}" for value in self.mean),
            "std": ", ".join(f"{value:g}" for value in self.std),
            "photographs": f"{self.interpolation}, central crop {self.crop:g}",
            "access": self.access,
            "licence": printable(self.licence),
        }

    def __repr__(self) -> str:
        return f"HostInfo {printable(self.id)}: " + "; ".join(f"{name} {value}" for name, value in self.facts().items())

    def _repr_html_(self) -> str:
        return html_table({"host": self.id, **self.facts()})

    def label(self, index: int) -> str:
        """The name of a host label.

        Args:
            index: from 0 to K - 1.
        """
        return self.class_names[index] if self.class_names else f"host label {index}"

    def column(self, index: int, *, apart: bool) -> str:
        """The name of the label in a column of scores.

        Args:
            index: from 0: v · K + j for label j in view v.
            apart: whether each view has columns of its own; then the name says which.
        """
        view, label = divmod(index, self.num_classes)
        return f"{self.label(label)} (view {view + 1})" if apart else self.label(label)

    def top_labels(self, scores: "Tensor", most: int = 3) -> list[list[dict[str, Any]]]:
        """The host's own answers for people: the most probable of its labels, by the softmax of its scores.

        Args:
            scores: b × K host scores.
            most: how many labels are named for each image; all K where these are fewer.

        Returns:
            For each image a list of `label` and `probability`, the most probable one first.
        """
        top = scores.softmax(dim=1).topk(min(most, scores.shape[1]))
        return [
            [{"label": self.label(i), "probability": p} for p, i in zip(values, indices, strict=True)]
            for values, indices in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]


def is_of_bytes(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Whether a normalisation can't be one of pixels in [0, 1], but of pixels from 0 to 255.

    Args:
        mean: one value per channel.
        std: one value per channel.
    """
    return any(abs(value) > MAX_UNIT for value in (*mean, *std))


def is_mixed(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Whether one of mean and standard deviation can only be of pixels from 0 to 255, and the other only of [0, 1].

    Args:
        mean: one value per channel.
        std: one value per channel.
    """
    return any(mean) and is_of_bytes(mean, mean) != is_of_bytes(std, std)


def in_units(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A normalisation that a file holds, for pixels in [0, 1].

    (255 p - mean) / std = (p - mean / 255) / (std / 255).

    Args:
        mean: one value per channel, of pixels in [0, 1] or from 0 to 255.
        std: one value per channel, of the same pixels; a pair that is mixed is given back as it is.
    """
    scale = 255.0 if is_of_bytes(mean, std) and not is_mixed(mean, std) else 1.0
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def look_swapped(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Whether mean and standard deviation must have changed places: no pixels in [0, 1] have these, but those.

    Numbers in [0, 1] of mean m have a standard deviation of at most √(m (1 - m)) (Bhatia and Davis, 2000). Values that
    are the same for all channels were not measured on photographs, and tell nothing.

    Args:
        mean: one value per channel.
        std: one value per channel.
    """

    def possible(m: float, s: float) -> bool:
        return s * s <= m * (1 - m)

    pairs = list(zip(mean, std, strict=True))
    likelier = all(0 < m < s and possible(s, m) for m, s in pairs)  # Means are larger than deviations, as a rule.
    return likelier and len(set(pairs)) > 1 and not all(possible(m, s) for m, s in pairs)


def check_sizes(*, size: int = 0, **counts: int) -> None:
    """Refuse an input size or a number of classes or channels that no host has.

    Args:
        size: height and width in pixels, from 0 to `MAX_SIZE`.
        counts: numbers of classes or channels by their options' names, from 0 to `MAX_COUNT`.

    Raises:
        ConfigError: a number is out of range; the message says which.
    """
    if not 0 <= size <= MAX_SIZE:
        raise ConfigError(f"size={size}; 0 for the model's own, or at most {MAX_SIZE} pixels")
    for name, value in counts.items():
        if not 0 <= value <= MAX_COUNT:
            raise ConfigError(f"{name}={value}; at most {MAX_COUNT}, not negative")
