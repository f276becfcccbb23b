"""What the options of maps that are fitted to the host's answers have in common."""

from dataclasses import dataclass

from reprogram.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FittedConfig:
    """Options of a fitted map.

    Attributes:
        images: training images that are looked at before the first step, at the most; the host is called for them.
    """

    images: int = 2_000

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ConfigError(f"images={self.images}; it is fitted to at least 1 image")
