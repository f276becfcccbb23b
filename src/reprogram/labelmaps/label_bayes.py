"""Bayes' rule on smoothed counts of the host's top label; the label alone is enough, no number is read."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._counts import CountMap
from reprogram.utils.smoothing import best_strength


class LabelBayes(CountMap):
    """The score of class i is log P(i | j) for the host's top label j, by counts of earlier answers.

    With n_ij images of class i that the host gave label j, n_i of the class, n in all, and π_i = (n_i + 1) / (n + k),

        P(i | j) = (n_ij + α π_i) / (Σ_i n_ij + α).

    α is chosen by the leave-one-out likelihood of the classes: a label that was seen once says little. A label that was
    never seen, and an answer that shows none, leave the prior π. This is all that can be known from labels one image at
    a time, as the counts grow. A learner that follows gradients is given that of log Σ_j p_j P(i | j) with the host's
    probabilities p (straight-through), because the top label itself has none.

    Reference: Minka, Estimating a Dirichlet Distribution, 2000, the leave-one-out likelihood; Bengio, Léonard and
    Courville, Estimating or Propagating Gradients Through Stochastic Neurons, 2013, section 4 (straight-through).
    """

    reads_top_label = True

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            smoothing: α; None chooses it by the leave-one-out likelihood.
        """

        smoothing: float | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.smoothing is not None and not 0 < self.smoothing < float("inf"):
                raise ConfigError(f"smoothing={self.smoothing}; a positive number, or None, is expected")

    prior: Tensor

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.register_buffer("matrix", torch.full_like(self.first_weights(), 1 / num_task_labels))
        self.register_buffer("prior", torch.full((num_task_labels,), 1 / num_task_labels))

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Apply Bayes' rule to counts n_ij."""
        # π_i = (n_i + 1) / (n + k), k
        prior = (statistics.sum(dim=1) + 1) / (statistics.sum() + len(statistics))
        strength = self.config.smoothing or best_strength(statistics.T, prior)
        # (n_ij + α π_i) / (Σ_i n_ij + α), k x K
        self.matrix.copy_((statistics + strength * prior[:, None]) / (statistics.sum(dim=0) + strength))
        self.prior.copy_(prior)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Look up the classes' logarithms of probabilities for the top label."""
        top = F.one_hot(scores.argmax(dim=1), self.num_host_labels).to(scores.dtype)
        known = scores.amax(dim=1, keepdim=True) > scores.amin(dim=1, keepdim=True)
        chances, prior = self.matrix.to(scores.dtype).T, self.prior.to(scores.dtype)
        # b x K times K x k, or the prior where all labels are alike
        logs = torch.where(known, top @ chances, prior).log()
        if scores.requires_grad:
            # log Σ_j p_j P(i | j); a number that half precision rounds to 0 has no gradient
            mixed = torch.where(known, scores.softmax(dim=1) @ chances, prior)
            soft = mixed.clamp_min(torch.finfo(scores.dtype).tiny).log()
            logs = logs + soft - soft.detach()
        return logs

    def answer_counts(self) -> Float[Tensor, "k K"] | None:
        """The counts that the map is fitted to."""
        return self.statistics

    def validate(self) -> None:
        """Refuse numbers that are no probabilities."""
        columns = torch.cat([self.matrix, self.prior[:, None]], dim=1)
        if not columns.min() > 0 or (columns.sum(dim=0) - 1).abs().max() > 1e-3:
            raise ConfigError("label map label-bayes: its numbers are no probabilities of the classes")
