"""Another loss, and what a detector makes of the host's answers: programs that look like the host's own images."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from reprogram.detectors._detect import load_detector, names_file
from reprogram.detectors.base import Detector
from reprogram.errors import ConfigError
from reprogram.losses.base import Answered, Loss
from reprogram.registry import configure, find, names
from reprogram.utils.files import user_path

SIGNED = {"largest-softmax": "confident", "energy": "low"}
"""The detectors that this loss has options for, and the option of each that turns its sign."""


class EvadingLoss(Loss):
    """L + λ max(0, s - τ) with another loss L and the score s by which a detector takes an image for a foreign one.

    Its attacker knows which detector reads the answers, and from which score on its alarm rings, τ. With the host's
    scores h, `largest-softmax` is s = -max_j softmax(h / T)_j, and `energy` is s = -T log Σ_j exp(h_j / T). Both fall
    while the host becomes more certain; a detector that suspects hosts that are too certain has the other sign. It
    takes all host scores; on hosts that show less than scores the evidence of their answers.

    With the file that `Detector.save` wrote of a calibrated detector, the attacker has the detector itself: its
    options, what it learned, and its threshold. Every detector that `has_gradient` is met so; one that
    remembers an account meets the batch as all that the account sends. Of detectors that read the features of the
    host's last layer, the host is run a second time for each image, without the engine, and has to give its gradient.

    Several detectors are evaded at once where L is another such loss.

    Reference: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017;
    Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, equation 4.
    """

    reads_host = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            loss: spec of the loss L.
            detector: spec of the detector, such as `energy` or `encoder-neighbours(k=5)`, or the path of its
                `.safetensors` file.
            temperature: T of `largest-softmax` or `energy`, above 0, where neither the spec nor a file has its own.
            low: whether such a detector suspects low values, so that its score has the other sign.
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
            if self.detector not in SIGNED and (self.temperature != 1 or self.low):
                raise ConfigError(f"detector={self.detector!r} has its own temperature and sign; leave them out")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The detector's file, where the options name one, and those of the other loss."""
        variant, options = configure("losses", config.loss)
        own = [user_path(config.detector)] if names_file(config.detector) else []
        return [*own, *variant.needs(options)]

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        variant, options = configure("losses", config.loss)
        self.inner: Loss = variant(options)
        self._detector = self._named()
        copied = "differentiable", "whole_batch", "bounded", "needs_own_labels"
        own = {name: getattr(self.inner, name) for name in copied}
        own["whole_batch"] |= self._detector.across_queries
        for name, value in own.items():
            setattr(self, name, value)
        self.reads_features = self._detector.reads == "features" or self.inner.reads_features

    def _named(self) -> Detector:
        """The detector of the file or the spec, if its score has a gradient."""
        config, spec = self.config, self.config.detector
        if spec in SIGNED:
            spec = f"{spec}(temperature={config.temperature!r}, {SIGNED[spec]}={config.low})"
        detector = load_detector(spec)
        if not detector.has_gradient:
            known = [name for name in names("detectors") if find("detectors", name).has_gradient]
            raise ConfigError(
                f"evading: the score of {detector.name()} has no gradient here; that of {', '.join(known)} has"
            )
        if detector.fits and not getattr(detector, "arrays", True):
            raise ConfigError(
                f"evading: detector={config.detector!r} has learned nothing yet; calibrate it first, and give the file "
                "that it is saved to"
            )
        return detector

    def files_digest(self) -> str:
        """SHA-256 of the detector's file, and of those of the other loss."""
        detector = self.config.detector
        own = hashlib.sha256(user_path(detector).read_bytes()).hexdigest() if names_file(detector) else ""
        inner = self.inner.files_digest()
        return hashlib.sha256(f"{own} {inner}".encode()).hexdigest() if inner else own

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The losses, and the part of each image's score above the threshold."""
        config, detector = self.config, self._detector
        answers = answered.features if detector.reads == "features" else answered.host
        assert answers is not None
        score = detector.scores_with_gradient(answers)
        threshold = detector.threshold if config.threshold is None else config.threshold
        above: Tensor = score if threshold is None else (score - threshold).clamp_min(0)
        losses: Tensor = self.inner.losses(answered) + config.weight * above
        return losses
