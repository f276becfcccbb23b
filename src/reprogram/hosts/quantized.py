"""Any local host with weights of a few bits: `quantized:efficientnet-lite0?bits=4`."""

from dataclasses import dataclass

from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.hosts._changed_weights import ChangedWeights


class Quantized(ChangedWeights):
    """The weights of each output of a convolution, linear layer or attention are whole multiples of one step.

    They are rounded to it. The step is the largest absolute weight of the output divided by 2^(bits - 1) - 1. The
    numbers are still computed in floating point, so that the gradient is exact; nothing is trained afterwards, and
    activations aren't rounded.

    Reference: Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018, section 2.2.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: spec of the host; one with `?` of its own goes in brackets, as in `untrained`.
            bits: of a weight, 2 to 16.
        """

        host: str
        bits: int = 4

        def __post_init__(self) -> None:
            if not 2 <= self.bits <= 16:
                raise ConfigError(f"bits={self.bits}; 2 to 16 are expected")

    @classmethod
    def example(cls) -> Config:
        """A tiny ResNet in four bits."""
        return cls.Config(host="timm:test_resnet(pretrained=False, num_classes=16, size=48)")

    def change(self, weights: list[Tensor]) -> list[Tensor]:
        """Round the weights of each output."""
        return [self._rounded(weight) for weight in weights]

    def _rounded(self, weight: Tensor) -> Tensor:
        # step = max |w| / (2^(bits - 1) - 1) of each output; w becomes step · round(w / step)
        largest = weight.abs().flatten(1).amax(dim=1).view(-1, *[1] * (weight.ndim - 1))
        step = (largest / (2 ** (self.config.bits - 1) - 1)).clamp_min(1e-12)
        rounded: Tensor = (weight / step).round() * step
        return rounded
