"""A linear classifier with random weights: the host that can't be reprogrammed."""

from dataclasses import dataclass, replace

from torch import nn

from reprogram.errors import ConfigError
from reprogram.hosts._building import host_id, seeded
from reprogram.hosts.base import NO_LICENCE, Host, HostInfo, HostSource, check_sizes

MAX_WEIGHTS = 2**26


class Linear(HostSource):
    """Scores are a linear function of the pixels, so a program shifts every sample's scores alike."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            size: input height and width in pixels.
            num_classes: K.
            channels: of the input.
            seed: of the random weights.
        """

        size: int = 64
        num_classes: int = 16
        channels: int = 3
        seed: int = 0

        def __post_init__(self) -> None:
            if min(self.size, self.num_classes, self.channels) < 1:
                raise ConfigError("size, num_classes and channels are at least 1")
            check_sizes(size=self.size, num_classes=self.num_classes, channels=self.channels)
            if self.channels * self.size**2 * self.num_classes > MAX_WEIGHTS:
                raise ConfigError(f"more than {MAX_WEIGHTS:,} weights; make size or num_classes smaller")

    def build(self, *, download: bool = False) -> Host:
        """Draw the weights."""
        config = self.config
        with seeded(config.seed):
            net = nn.Sequential(nn.Flatten(), nn.Linear(config.channels * config.size**2, config.num_classes))
        return Host(net, self.info(), untrained=self.untrained)

    def info(self) -> HostInfo:
        """The record."""
        config = self.config
        return HostInfo(
            id=self.spec(),
            num_classes=config.num_classes,
            size=(config.size, config.size),
            channels=config.channels,
            mean=(0.5,) * config.channels,
            std=(0.5,) * config.channels,
            licence=NO_LICENCE,
        )

    def has_random_weights(self) -> bool:
        """Always."""
        return True

    def spec(self) -> str:
        """`linear:SIZE?...`."""
        return host_id("linear", str(self.config.size), self.config, skip="size")

    def untrained(self, seed: int) -> Host:
        """The same with other random weights."""
        return Linear(replace(self.config, seed=seed)).build()
