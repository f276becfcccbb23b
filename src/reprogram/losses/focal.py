"""As `host`, but images that the host is already sure of count little; what BAR minimises."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.losses.base import Answered, Loss


class FocalLoss(Loss):
    """-(1 - P)^γ log P, in nats, with P = P(h_g(y) | X_adv), the host's probability, as in the loss `host`.

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 4; Tsai, Chen and Ho, Transfer
    Learning without Knowing, ICML 2020 (BAR).
    """

    reads_host = True
    bounded = False
    needs_own_labels = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            gamma: γ, 0 or more; 2 is BAR's.
        """

        gamma: float = 2.0

        def __post_init__(self) -> None:
            if not 0 <= self.gamma < float("inf"):
                raise ConfigError(f"gamma={self.gamma}; 0 or a positive number is expected")

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The weighted negative logarithms of the host's probabilities."""
        # -log P = log sum_j exp(host score j) - task score y: b
        losses = answered.host.logsumexp(dim=1) - answered.task.gather(1, answered.labels[:, None])[:, 0]
        # (1 - P)^γ · -log P
        weighted: Tensor = (1 - (-losses).exp()).clamp_min(0) ** self.config.gamma * losses
        return weighted
