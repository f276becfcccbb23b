"""Naive Bayes on the shares that labels have in the host's evidence, for an image that was asked about repeatedly."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, finfo

from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._naive_bayes import NaiveBayesMap, check_smoothing


class EvidenceBayes(NaiveBayesMap):
    """The score of class i is log π_i + Σ_j e_j log P(j | i), with the share e_j of label j in what the host showed.

    e_j is the host's probability of label j less that of its least probable label, divided by the sum of these over all
    labels. Where the program makes several views of an image and the host shows its top label alone, e_j is the part
    of the views in which it showed label j; with all scores e_j is about the host's probability. An image without
    evidence leaves the prior π.

    Reference: McCallum and Nigam, A Comparison of Event Models for Naive Bayes Text Classification, 1998, section 2.2,
    with shares in the place of counts; Minka, Estimating a Dirichlet Distribution, 2000, the leave-one-out likelihood.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            smoothing: α / K, what each label counts beforehand; None chooses it by the leave-one-out likelihood.
        """

        smoothing: float | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            check_smoothing(self.smoothing)

    def empty_statistics(self) -> Float[Tensor, "2 k K"]:
        """Zeros in place of the sums of e_j and of e_j²."""
        return torch.zeros(2, self.num_task_labels, self.num_host_labels, dtype=torch.float64)

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "2 b K"]:
        """The share e_j of each label, and e_j²."""
        shares = self.shares(scores)
        return torch.stack([shares, shares.square()])

    def refit(self, statistics: Float[Tensor, "2 k K"]) -> None:
        """Estimate log P(j | i) and log π_i from the sums n_ij of e_j and q_ij of e_j²."""
        self.estimate(*statistics)

    def shares(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """The share e_j of each label; 0 where the host showed nothing.

        Args:
            scores: b × K, logits.
        """
        chances = scores.softmax(dim=1)
        # (p_j - min p) / Σ_j (p_j - min p), 0 where all are alike
        excess = chances - chances.amin(dim=1, keepdim=True)
        return excess / excess.sum(dim=1, keepdim=True).clamp_min(max(1e-12, finfo(scores.dtype).tiny))

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Sum the logarithms of the labels by their shares."""
        # b x K times K x k, + log π
        return super().run(self.shares(scores)) + self.bias.to(scores.dtype)
