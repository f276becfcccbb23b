"""Another loss, and what a detector makes of the host's scores: programs that look like the host's own images."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.losses.base import Answered, Loss
from reprogram.registry import configure


class EvadingLoss(Loss):
    """L + λ max(0, s - τ) with another loss L and the score s by which a detector takes an image for a foreign one.

    Its attacker knows which detector reads the scores, and from which score on its alarm rings, τ. `largest-softmax` is
    s = 1 - max_j p_j of the host's probabilities p, `energy` is s = -log Σ_j exp h_j of its scores h; both fall while
    the host becomes more certain. It takes all host scores; on hosts that show less than scores the evidence of their
    answers.

    Reference: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017;
    Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, equation 4.
    """

    reads_host = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            loss: spec of the loss L.
            detector: which score the detector goes by.
            weight: λ, 0 or more.
            threshold: τ, in the score's unit; below it nothing is added. None adds λ s whatever it is.
        """

        loss: str = "task"
        detector: Literal["largest-softmax", "energy"] = "largest-softmax"
        weight: float = 1.0
        threshold: float | None = None

        def __post_init__(self) -> None:
            if not 0 <= self.weight < float("inf"):
                raise ConfigError(f"weight={self.weight}; 0 or a positive number is expected")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        variant, options = configure("losses", config.loss)
        self.inner: Loss = variant(options)
        if isinstance(self.inner, EvadingLoss):
            raise ConfigError(f"evading: loss={config.loss!r} evades already; name the loss itself")
        for name in ("differentiable", "whole_batch", "bounded"):
            setattr(self, name, getattr(self.inner, name))

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The losses, and the part of each image's score above the threshold."""
        if self.config.detector == "energy":
            score = -answered.host.logsumexp(dim=1)
        else:
            score = 1 - answered.host.softmax(dim=1).amax(dim=1)
        above: Tensor = score if self.config.threshold is None else (score - self.config.threshold).clamp_min(0)
        losses: Tensor = self.inner.losses(answered) + self.config.weight * above
        return losses
