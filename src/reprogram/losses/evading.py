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

    Its attacker knows which detector reads the scores, and from which score on its alarm rings, τ. With the host's
    scores h, `largest-softmax` is s = -max_j softmax(h / T)_j, and `energy` is s = -T log Σ_j exp(h_j / T). Both fall
    while the host becomes more certain; a detector that suspects hosts that are too certain has the other sign. It
    takes all host scores; on hosts that show less than scores the evidence of their answers.

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
            temperature: T of the detector, above 0.
            low: whether the detector suspects low values, so that its score has the other sign.
            weight: λ, 0 or more.
            threshold: τ, in the score's unit; below it nothing is added. None adds λ s whatever it is.
        """

        loss: str = "task"
        detector: Literal["largest-softmax", "energy"] = "largest-softmax"
        temperature: float = 1.0
        low: bool = False
        weight: float = 1.0
        threshold: float | None = None

        def __post_init__(self) -> None:
            if not 0 <= self.weight < float("inf"):
                raise ConfigError(f"weight={self.weight}; 0 or a positive number is expected")
            if not 0 < self.temperature < float("inf"):
                raise ConfigError(f"temperature={self.temperature}; a positive number is expected")

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
        temperature, scaled = self.config.temperature, answered.host / self.config.temperature
        if self.config.detector == "energy":
            score = -temperature * scaled.logsumexp(dim=1)
        else:
            score = -scaled.softmax(dim=1).amax(dim=1)
        score = -score if self.config.low else score
        above: Tensor = score if self.config.threshold is None else (score - self.config.threshold).clamp_min(0)
        losses: Tensor = self.inner.losses(answered) + self.config.weight * above
        return losses
