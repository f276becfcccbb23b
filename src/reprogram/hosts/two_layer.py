"""One hidden layer with random weights: from linear to not, by the slope of its leaky ReLUs."""

from dataclasses import dataclass, replace

from torch import nn

from reprogram.errors import ConfigError
from reprogram.hosts._building import host_id, seeded
from reprogram.hosts.base import NO_LICENCE, Host, HostInfo, HostSource, check_sizes

MAX_WEIGHTS = 2**26


class TwoLayer(HostSource):
    """Scores = B · leaky-ReLU(A x): the least host that a program can do something with.

    With slope 1 it is linear and can't be reprogrammed; with slope 0 the units are ReLUs.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            size: input height and width in pixels.
            width: hidden units.
            slope: of a unit for negative numbers, in [0, 1].
            num_classes: K.
            channels: of the input.
            seed: of the random weights.
        """

        size: int = 64
        width: int = 256
        slope: float = 0.0
        num_classes: int = 16
        channels: int = 3
        seed: int = 0

        def __post_init__(self) -> None:
            if min(self.size, self.width, self.num_classes, self.channels) < 1:
                raise ConfigError("size, width, num_classes and channels are at least 1")
            if not 0 <= self.slope <= 1:
                raise ConfigError(f"slope={self.slope}; a number in [0, 1] is expected")
            check_sizes(size=self.size, num_classes=self.num_classes, channels=self.channels)
            if self.width * (self.channels * self.size**2 + self.num_classes) > MAX_WEIGHTS:
                raise ConfigError(f"more than {MAX_WEIGHTS:,} weights; make size or width smaller")

    def build(self, *, download: bool = False) -> Host:
        """Draw the weights."""
        config = self.config
        with seeded(config.seed):
            net = nn.Sequential(
                nn.Flatten(),
                nn.Linear(config.channels * config.size**2, config.width),
                nn.LeakyReLU(config.slope),
                nn.Linear(config.width, config.num_classes),
            )
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
        """`two-layer:SIZE?...`."""
        return host_id("two-layer", str(self.config.size), self.config, skip="size")

    def untrained(self, seed: int) -> Host:
        """The same with other random weights."""
        return TwoLayer(replace(self.config, seed=seed)).build()
