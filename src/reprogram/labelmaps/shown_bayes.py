"""Naive Bayes on which labels the host shows first, whatever their numbers: for hosts that answer with a few labels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._counts import CountMap
from reprogram.utils.smoothing import best_strength


class ShownBayes(CountMap):
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
            if self.smoothing is not None and not 0 < self.smoothing < float("inf"):
                raise ConfigError(f"smoothing={self.smoothing}; a positive number, or None, is expected")

    bias: Tensor

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.register_buffer("matrix", torch.zeros_like(self.first_weights()))
        self.register_buffer("bias", torch.zeros(num_task_labels))

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """1 for each label that is shown."""
        largest = scores.topk(min(self.config.labels, scores.shape[1]), dim=1).indices
        above = scores > scores.amin(dim=1, keepdim=True)
        return torch.zeros_like(scores).scatter_(1, largest, 1.0) * above

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Estimate log P(j | i) and log π_i from counts n_ij."""
        labels = self.num_host_labels
        base = torch.full((labels,), 1 / labels, dtype=statistics.dtype)
        strength = self.config.smoothing * labels if self.config.smoothing else best_strength(statistics, base)
        # log P(j | i) = log((n_ij + α / K) / (Σ_j n_ij + α)), k x K
        shown = statistics.sum(dim=1, keepdim=True)
        logs = ((statistics + strength / labels) / (shown + strength)).log()
        # Less their mean over the classes, which changes no class's probability: what is left tells the classes apart.
        self.matrix.copy_(logs - logs.mean(dim=0))
        # images of a class are its shown labels over m; π_i, k
        images = shown[:, 0] / min(self.config.labels, labels) + 1
        self.bias.copy_((images / images.sum()).log())

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Sum the logarithms of the labels that are shown."""
        shown = self.contribution(scores.detach())
        if scores.requires_grad:
            soft = scores.softmax(dim=1) * min(self.config.labels, scores.shape[1])
            shown = shown + soft - soft.detach()
        # b x K times K x k, + log π
        return super().run(shown) + self.bias.to(scores.dtype)
