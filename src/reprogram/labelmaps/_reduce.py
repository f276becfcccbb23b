"""How the scores of several host labels become one task score."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Reduce = Literal["mean", "max", "log-sum-exp"]


def reduce_rows(grouped: Float[Tensor, "b k m"], how: Reduce) -> Float[Tensor, "b k"]:
    """Reduce the last axis; `log-sum-exp` is the logarithm of the mean of the exponentials."""
    if how == "mean":
        return grouped.mean(dim=2)
    if how == "max":
        return grouped.amax(dim=2)
    return torch.logsumexp(grouped, dim=2) - math.log(grouped.shape[2])


def reduce_owned(
    scores: Float[Tensor, "b K"], owner: Int[Tensor, " K"], num_owners: int, how: Reduce
) -> Float[Tensor, "b k"]:
    """Reduce the scores of the host labels that belong to each task label, of any number; each owns one or more.

    `log-sum-exp` is the logarithm of the sum of the exponentials.
    """
    empty = scores.new_zeros(len(scores), num_owners)
    if how == "mean":
        return empty.index_add(1, owner, scores) / owner.bincount(minlength=num_owners)
    largest = empty.scatter_reduce(1, owner.expand_as(scores), scores, "amax", include_self=False)
    if how == "max":
        return largest
    shift = largest.detach()
    return empty.index_add(1, owner, (scores - shift[:, owner]).exp()).log() + shift
