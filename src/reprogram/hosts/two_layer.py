"""One hidden layer with random weights: from linear to not, by the slope of its leaky ReLUs."""

from dataclasses import dataclass

from torch import nn

from reprogram.errors import ConfigError
from reprogram.hosts._info import check_sizes
from reprogram.hosts._random_net import RandomNet

MAX_WEIGHTS = 2**26


class TwoLayer(RandomNet):
    """Scores = B · leaky-ReLU(A x): the smallest host that can be reprogrammed.

    With slope 1 it is linear and can't be reprogrammed; with slope 0 the units are ReLUs.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            size: input height and width in pixels.
            width: the number of hidden units.
            slope: of the leaky ReLU for negative numbers, in [0, 1].
            num_classes: K.
            channels: C, the number of channels of the input.
            seed: decides the random weights.
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

    def network(self) -> nn.Module:
        """B · leaky-ReLU(A x): C·size² to width to K."""
        config = self.config
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(config.channels * config.size**2, config.width),
            nn.LeakyReLU(config.slope),
            nn.Linear(config.width, config.num_classes),
        )
