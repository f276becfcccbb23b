"""Assign one host label to each task label, no two the same: greedily, or with the largest sum of benefits."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Assignment = Literal["greedy", "optimal"]


def assign(benefit: Float[Tensor, "k K"], how: Assignment) -> Tensor:
    """Choose a host label for each task label.

    Args:
        benefit: k × K, entry i, j for giving host label j to task label i; k <= K.
        how: "greedy" takes the largest remaining benefit again and again, among equal ones that of the first host
            label, then of the first task label. "optimal" has the largest sum.

    Returns:
        k host labels, int64.

    Reference: Chen et al., Understanding and Improving Visual Prompting, CVPR 2023 (greedy); Kuhn, The Hungarian
    Method for the Assignment Problem, 1955 (optimal).
    """
    return _greedy(benefit) if how == "greedy" else _optimal(benefit)


def _greedy(benefit: Tensor) -> Tensor:
    remaining = benefit.double().numpy(force=True).copy()
    labels = np.empty(len(remaining), dtype=np.int64)
    # Each row's largest entry and its first column, k numbers each; only rows that lose their column look again.
    column = remaining.argmax(axis=1)
    largest = remaining.max(axis=1)
    for _ in range(len(remaining)):
        rows = np.flatnonzero(largest == largest.max())
        task = rows[column[rows].argmin()]
        host = labels[task] = column[task]
        remaining[:, host] = remaining[task] = largest[task] = -np.inf
        column[task] = remaining.shape[1]
        again = np.flatnonzero(column == host)
        column[again] = remaining[again].argmax(axis=1)
        largest[again] = remaining[again].max(axis=1)
    return torch.from_numpy(labels)


def _optimal(benefit: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    _, labels = linear_sum_assignment(benefit.numpy(), maximize=True)
    return torch.from_numpy(labels.astype(np.int64))


def benefit_of(counts: Float[Tensor, "k K"]) -> Tensor:
    """The benefit of giving host label j to task label i, from the host's predictions: the number n_ij.

    Where n_ij is 0, as in every row of a class without images, host labels that are predicted less for other classes
    are better: the benefit is a small negative number, which never outweighs one prediction.

    Args:
        counts: k × K, n_ij is the number of images of class i that the host predicts as j.

    Returns:
        k × K.
    """
    # -Σ_i n_ij / (2 Σ n), K numbers above -1
    penalty = counts.sum(dim=0) / (2 * counts.sum()).clamp(min=1)
    return torch.where(counts > 0, counts, -penalty)
