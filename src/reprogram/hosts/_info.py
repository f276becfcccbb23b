"""The record of a host, and the meter that counts its calls."""

from collections.abc import Callable
from dataclasses import dataclass

from reprogram.errors import ConfigError
from reprogram.types import Access

MAX_SIZE = 4096
MAX_COUNT = 100_000
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
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
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ConfigError(f"host {self.id}: mean and std need {self.channels} values, one a channel")
        if min(self.std) <= 0:
            raise ConfigError(f"host {self.id}: std {self.std} holds a value that isn't positive")
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ConfigError(f"host {self.id}: {len(self.class_names)} class names for {self.num_classes} classes")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input image: C, H, W."""
        return self.channels, *self.size

    def label(self, index: int) -> str:
        """The name of a host label.

        Args:
            index: from 0 to K - 1.
        """
        return self.class_names[index] if self.class_names else f"host label {index}"


@dataclass
class Meter:
    """The count of a host's calls and images, which can't be under-reported.

    Attributes:
        calls: of the host so far.
        images: in all these calls.
    """

    calls: int = 0
    images: int = 0

    def __post_init__(self) -> None:
        self.watcher: Callable[[], None] | None = None  # Called after each count, where a run sets it for a while.

    def count(self, images: int) -> None:
        """Count a call.

        Args:
            images: the number of its images.
        """
        self.calls += 1
        self.images += images
        if self.watcher is not None:
            self.watcher()


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
