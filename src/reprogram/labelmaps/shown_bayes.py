"""Naive Bayes on which labels the host shows first, whatever their numbers: for hosts that answer with a few labels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._naive_bayes import NaiveBayesMap, check_smoothing


class ShownBayes(NaiveBayesMap):
    """The score of class i is log π_i + Σ_j log P(j | i) over the labels j that the host shows, m of them at the most.

    With n_ij images of class i for which the host showed label j, P(j | i) = (n_ij + α / K) / (Σ_j n_ij + α). π_i is
    the share of class i in all that was shown, one image more for each class. This is multinomial naive Bayes; α is
    chosen by the leave-one-out likelihood of the labels. A label counts as shown where it is among the m largest scores
    and above the smallest one: labels that an answer leaves out share the smallest. A learner that follows gradients is
    given that of Σ_j m p_j log P(j | i) with the host's probabilities p (straight-through).

    Reference: McCallum and Nigam, A Comparison of Event Models for Naive Bayes Text Classification, 1998, section 2.2;
    Minka, Estimating a Dirichlet Distribution, 2000, the leave-one-out likelihood.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            labels: m, the most labels of an answer that count.
            smoothing: α / K, what each label counts beforehand; None chooses it by the leave-one-out likelihood.
        """

        labels: int = 5
        smoothing: float | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.labels < 1:
                raise ConfigError(f"labels={self.labels}; at least 1 is expected")
            check_smoothing(self.smoothing)

    @property
    def labels_per_image(self) -> int:
        """The labels of an answer that count."""
        return min(int(self.config.labels), self.num_host_labels)

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """1 for each label that is shown."""
        largest = scores.topk(min(self.config.labels, scores.shape[1]), dim=1).indices
        above = scores > scores.amin(dim=1, keepdim=True)
        return torch.zeros_like(scores).scatter_(1, largest, 1.0) * above

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Sum the logarithms of the labels that are shown."""
        shown = self.contribution(scores.detach())
        if scores.requires_grad:
            soft = scores.softmax(dim=1) * min(self.config.labels, scores.shape[1])
            shown = shown + soft - soft.detach()
        # b x K times K x k, + log π
        return super().run(shown) + self.bias.to(scores.dtype)
