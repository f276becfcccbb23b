"""BAR's loss: the paper's, in which images that the host is sure of already count little."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.losses.base import Answered, Loss


class FocalLoss(Loss):
    """-(1 - P)^γ log P, in nats, with the host's probability P = P(h_g(y) | X_adv).

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, section 3.2; Tsai, Chen and Ho, Transfer
    Learning without Knowing, ICML 2020, take it with γ = 2.
    """

    reads_host = True
    bounded = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            gamma: γ, 0 or more; with 0 it is the loss `host`.
        """

        gamma: float = 2.0

        def __post_init__(self) -> None:
            if not 0 <= self.gamma <= 100:
                raise ConfigError(f"gamma={self.gamma}; a number from 0 to 100 is expected")

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The weighted negative logarithms of the host's probabilities."""
        # -log P = log sum_j exp(host score j) - task score y: b
        losses = answered.host.logsumexp(dim=1) - answered.task.gather(1, answered.labels[:, None])[:, 0]
        weights: Tensor = (1 - (-losses).exp()).clamp_min(0) ** self.config.gamma
        # (1 - P)^γ · -log P
        return weights * losses
