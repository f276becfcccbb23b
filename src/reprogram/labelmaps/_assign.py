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
    remaining = benefit.T.contiguous()  # K x k: the first maximum is that of the first host label.
    labels = torch.empty(len(benefit), dtype=torch.int64)
    for _ in range(len(benefit)):
        # The flat index of the maximum is host · k + task.
        host, task = divmod(int(remaining.argmax()), len(benefit))
        labels[task] = host
        remaining[host] = remaining[:, task] = -torch.inf
    return labels


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
