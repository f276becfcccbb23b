"""The options that all maps have which are fitted to the host's scores."""

from dataclasses import dataclass

from reprogram.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FittedConfig:
    """Options of a fitted map.

    Attributes:
        images: the most training images that the map is fitted to before the first step; the host is called for them.
            They are drawn at random by the run's seed, so that of few images a class may have none.
    """

    images: int = 2_000

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ConfigError(f"images={self.images}; it is fitted to at least 1 image")
