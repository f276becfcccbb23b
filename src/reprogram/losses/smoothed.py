"""As `task`, with a part of each label spread evenly over all classes."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.losses.base import Answered, Loss


class SmoothedLoss(Loss):
    """The cross-entropy, in nats, with targets of 1 - ε for the right class and ε / k more for each of the k.

    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            smoothing: ε, in [0, 1).
        """

        smoothing: float = 0.1

        def __post_init__(self) -> None:
            if not 0 <= self.smoothing < 1:
                raise ConfigError(f"smoothing={self.smoothing}; a number from 0 to below 1 is expected")

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The cross-entropies."""
        smoothing = self.config.smoothing
        return F.cross_entropy(answered.task, answered.labels, reduction="none", label_smoothing=smoothing)
