"""How well each image's class is told by its label, going by the labels of all other images; for labels alone."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.losses._counts import table
from reprogram.losses.base import Answered, Loss
from reprogram.utils.smoothing import best_strength


class LeaveOneOut(Loss):
    """-log P(y | j) of each image's class y and the host's top label j, with the image itself left out of the counts.

    With n_ij images of class i in the batch that the host gave label j, m_ij such answers before, π_i the classes'
    shares, and w the weight of earlier answers,

        P(y | j) = (n_yj - 1 + w m_yj + α π_y) / (Σ_i (n_ij + w m_ij) - 1 + α).

    So a label is worth as much as it tells of images that it wasn't counted for, and no host label is bound to a class:
    the counts find what it stands for. α is chosen by this same likelihood. Earlier answers are those that the label
    map `label-bayes` keeps; they were given to other programs, and hold the meaning of the labels together from batch
    to batch. An answer that shows no label counts as a label of its own. It has no gradient.

    Reference: Minka, Estimating a Dirichlet Distribution, 2000, the leave-one-out likelihood.
    """

    differentiable = False
    reads_host = True
    whole_batch = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            earlier: w, what an earlier answer counts beside one of the batch; 0 takes the batch alone.
            smoothing: α; None chooses it.
        """

        earlier: float = 1.0
        smoothing: float | None = None

        def __post_init__(self) -> None:
            if not 0 <= self.earlier < float("inf"):
                raise ConfigError(f"earlier={self.earlier}; 0 or a positive number is expected")
            if self.smoothing is not None and not 0 < self.smoothing < float("inf"):
                raise ConfigError(f"smoothing={self.smoothing}; a positive number, or None, is expected")

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The negative logarithms of the probabilities."""
        batch, earlier, column = table(answered)
        counts = batch + self.config.earlier * earlier
        # π_i = (n_i + 1) / (n + k), k
        images = torch.bincount(answered.labels, minlength=len(counts)).to(counts)
        prior = (images + 1) / (images.sum() + len(images))
        strength = self.config.smoothing or best_strength(counts.T, prior)
        own = counts[answered.labels, column] - 1 + strength * prior[answered.labels]
        chances = own / (counts.sum(dim=0)[column] - 1 + strength)
        likelihoods: Tensor = chances.log()
        return -likelihoods.to(answered.task.dtype)
