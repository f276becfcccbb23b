"""Reduce the scores of several host labels to one task score."""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps.base import GroupMap

Reduce = Literal["mean", "max", "log-sum-exp"]


def reduce_rows(grouped: Float[Tensor, "b k m"], how: Reduce) -> Float[Tensor, "b k"]:
    """Reduce the last axis.

    Args:
        grouped: b × k × m scores.
        how: "mean", "max", or "log-sum-exp", the logarithm of the mean of the exponentials.

    Returns:
        b × k.
    """
    if how == "mean":
        return grouped.mean(dim=2)
    if how == "max":
        return grouped.amax(dim=2)
    # log(Σ exp(s) / m)
    return torch.logsumexp(grouped, dim=2) - math.log(grouped.shape[2])


def reduce_owned(
    scores: Float[Tensor, "b K"], owner: Int[Tensor, " K"], num_owners: int, how: Reduce
) -> Float[Tensor, "b k"]:
    """Reduce the scores of the host labels that belong to each task label; the numbers of labels may differ.

    Args:
        scores: b × K.
        owner: the task label that each host label belongs to, from 0 to k - 1; each task label occurs.
        num_owners: k.
        how: "mean", "max", or "log-sum-exp", the logarithm of the sum of the exponentials.

    Returns:
        b × k.
    """
    empty = scores.new_zeros(scores.shape[0], num_owners)
    if how == "mean":
        # b x k sums / k counts
        return empty.index_add(1, owner, scores) / owner.bincount(minlength=num_owners)
    # b x k maxima
    largest = empty.scatter_reduce(1, owner.expand_as(scores), scores, "amax", include_self=False)
    if how == "max":
        return largest
    # log Σ exp(s - max) + max
    shift = largest.detach()
    return empty.index_add(1, owner, (scores - shift[:, owner]).exp()).log() + shift


class ReducedGroupMap(GroupMap):
    """A map whose task labels have m host labels each, with one score made of theirs.

    Args:
        config: has `labels_per_class`, which is m, and `reduce`.
        num_host_labels: K.
        num_task_labels: k.

    Raises:
        ConfigError: the host has fewer than k · m labels.
    """

    def __init__(self, config: Any, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.num_used = num_task_labels * config.labels_per_class
        self.require_host_labels(self.num_used)

    @classmethod
    def example(cls) -> Any:
        """Two labels a class."""
        return cls.Config(labels_per_class=2)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Reduce the scores of each group, b × k × m, to b × k."""
        return reduce_rows(scores[:, self.groups], self.config.reduce)


def check_labels_per_class(count: int) -> None:
    """Refuse a number of host labels for each task label that is no number of labels.

    Args:
        count: m.

    Raises:
        ConfigError: it is below 1.
    """
    if count < 1:
        raise ConfigError(f"labels_per_class={count}; at least 1 is expected")
