"""A linear classifier with random weights: the host that can't be reprogrammed."""

from dataclasses import dataclass

from torch import nn

from reprogram.errors import ConfigError
from reprogram.hosts._info import check_sizes
from reprogram.hosts._random_net import RandomNet

MAX_WEIGHTS = 2**26


class Linear(RandomNet):
    """Scores are a linear function of the pixels, so a program shifts every sample's scores alike."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            size: input height and width in pixels.
            num_classes: K.
            channels: C, the number of channels of the input.
            seed: decides the random weights.
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

    def network(self) -> nn.Module:
        """One linear layer, C·size² to K."""
        config = self.config
        return nn.Sequential(nn.Flatten(), nn.Linear(config.channels * config.size**2, config.num_classes))
