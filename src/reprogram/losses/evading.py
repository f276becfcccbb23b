"""Another loss, and what a detector makes of the host's answers: programs that look like the host's own images."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.losses._detected import Detected, energy, kept, largest_softmax
from reprogram.losses.base import Answered, Loss
from reprogram.registry import configure

BY_NAME = {"largest-softmax": largest_softmax, "energy": energy}


class EvadingLoss(Loss):
    """L + λ max(0, s - τ) with another loss L and the score s by which a detector takes an image for a foreign one.

    Its attacker knows which detector reads the answers, and from which score on its alarm rings, τ. With the host's
    scores h, `largest-softmax` is s = -max_j softmax(h / T)_j, and `energy` is s = -T log Σ_j exp(h_j / T). Both fall
    while the host becomes more certain; a detector that suspects hosts that are too certain has the other sign. It
    takes all host scores; on hosts that show less than scores the evidence of their answers.

    With the file that `Detector.save` wrote of a calibrated detector, the attacker has the detector itself: its
    options, what it learned, and its threshold; a detector that goes by the mean of an account's last answers (`over`)
    is met by means over as many images of the batch. So `mahalanobis` and `neighbours` are evaded too, which read the
    features of the host's last layer: the host is then run a second time for each image, without the engine, and has
    to give its gradient.

    Reference: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017;
    Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, equation 4.
    """

    reads_host = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            loss: spec of the loss L.
            detector: which score the detector goes by: `largest-softmax`, `energy`, or the path of a detector's
                `.safetensors` file.
            temperature: T of the detector, above 0; a file has its own.
            low: whether the detector suspects low values, so that its score has the other sign; a file has its own.
            weight: λ, 0 or more.
            threshold: τ, in the score's unit; below it nothing is added. None adds λ s whatever it is, or takes the
                threshold of the detector's file.
        """

        loss: str = "task"
        detector: str = "largest-softmax"
        temperature: float = 1.0
        low: bool = False
        weight: float = 1.0
        threshold: float | None = None

        def __post_init__(self) -> None:
            if not 0 <= self.weight < float("inf"):
                raise ConfigError(f"weight={self.weight}; 0 or a positive number is expected")
            if not 0 < self.temperature < float("inf"):
                raise ConfigError(f"temperature={self.temperature}; a positive number is expected")
            is_file = self.detector.endswith(".safetensors")
            if not is_file and self.detector not in BY_NAME:
                raise ConfigError(
                    f"detector={self.detector!r}; {', '.join(BY_NAME)} or the .safetensors file of a detector is "
                    "expected"
                )
            if is_file and (self.temperature != 1 or self.low):
                raise ConfigError(f"detector={self.detector!r} has its own temperature and sign; leave them out")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        variant, options = configure("losses", config.loss)
        self.inner: Loss = variant(options)
        if isinstance(self.inner, EvadingLoss):
            raise ConfigError(f"evading: loss={config.loss!r} evades already; name the loss itself")
        self._detected = self._detector()
        own = {name: getattr(self.inner, name) for name in ("differentiable", "whole_batch", "bounded")}
        own["whole_batch"] |= self._detected.over > 1
        for name, value in own.items():
            setattr(self, name, value)
        self.reads_features = self._detected.reads == "features"

    def _detector(self) -> Detected:
        config = self.config
        if config.detector.endswith(".safetensors"):
            return kept(config.detector)
        sign, value = -1.0 if config.low else 1.0, BY_NAME[config.detector]
        return Detected("scores", lambda scores: sign * value(scores, config.temperature))

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The losses, and the part of each image's score above the threshold."""
        config, detected = self.config, self._detected
        answers = answered.host
        if self.reads_features:
            assert answered.features is not None
            answers = answered.features
        score = detected.means(answers)
        threshold = detected.threshold if config.threshold is None else config.threshold
        above: Tensor = score if threshold is None else (score - threshold).clamp_min(0)
        losses: Tensor = self.inner.losses(answered) + config.weight * above
        return losses
