"""Each host label belongs to the task label whose images it is predicted for most often; all host labels count."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._assign import assign
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._reduce import Reduce, reduce_owned
from reprogram.labelmaps.base import LabelMap

TIES = 2.0**-20
"""The weight of a probability beside one prediction; too small to outweigh it."""


class Greedy(LabelMap):
    """A many-to-one map of all host labels by the number of predictions, as in rajatvd's AdversarialReprogramming.

    Ties, also those of host labels that are never predicted, are decided by the mean probability of the label for
    images of the class. If a class would have no host label, each class first gets one of its own, chosen as in
    `frequency`.

    Attributes:
        owner: the task label that each host label belongs to, K, int64.
    """

    has_own_labels = True
    owner: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            reduce: how the scores of a class's host labels become one; `log-sum-exp` is the logarithm of the sum of
                their exponentials: the host's own probability of "one of these labels".
            refit: fit the map `once`, before the first step, or again for each of the `epochs`.
        """

        reduce: Reduce = "log-sum-exp"
        refit: Literal["once", "epochs"] = "once"

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.require_host_labels(num_task_labels)
        self.refit_schedule, self.fit_images = config.refit, config.images
        self.register_buffer("owner", torch.arange(num_host_labels) % num_task_labels)

    def empty_statistics(self) -> Float[Tensor, "2 k K"]:
        """Two matrices by class and host label: counts of predictions, and sums of probabilities."""
        return torch.zeros(2, self.num_task_labels, self.num_host_labels, dtype=torch.float64)

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "2 b K"]:
        """1 for the largest score, and the probabilities; 0 for an image whose scores are all alike."""
        largest = super().contribution(scores).double()
        return torch.stack([largest, scores.double().softmax(dim=1) * largest.sum(dim=1, keepdim=True)])

    def refit(self, statistics: Float[Tensor, "2 k K"]) -> None:
        """Give each host label to the class with most predictions, among equal ones that of the largest probability."""
        counts, chances = statistics
        images = counts.sum(dim=1, keepdim=True).clamp(min=torch.finfo(counts.dtype).tiny)
        # n_ij + 2^-20 · the mean of p_j over the images of the class, k x K
        value = counts + TIES * (chances / images).clamp(max=1)
        owner = value.argmax(dim=0)
        if owner.bincount(minlength=self.num_task_labels).min() == 0:
            owner[assign(value, "greedy")] = torch.arange(self.num_task_labels)
        self.owner.copy_(owner)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Reduce the scores of the host labels that belong to each task label."""
        return reduce_owned(scores, self.owner, self.num_task_labels, self.config.reduce)

    def assignment(self) -> list[list[int]]:
        """The host labels that belong to each task label, in ascending order."""
        return [(self.owner == label).nonzero().flatten().tolist() for label in range(self.num_task_labels)]

    def validate(self) -> None:
        """Refuse owners that are no task labels, and task labels without a host label."""
        k = self.num_task_labels
        if self.owner.min() < 0 or self.owner.max() >= k or self.owner.bincount(minlength=k).min() == 0:
            raise ConfigError(f"label map greedy: owners lie outside 0..{k - 1}, or one owns no host label")
