"""One host label for each task label, no two the same: greedily, or so that the sum is largest."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Assignment = Literal["greedy", "optimal"]


def assign(benefit: Float[Tensor, "k K"], how: Assignment) -> Tensor:
    """Choose a host label for each task label.

    Args:
        benefit: of giving host label j to task label i; k <= K.
        how: "greedy" takes the largest benefit that is left again and again, of equal ones that of the first host
            label, then of the first task label (Chen et al., 2023). "optimal" has the largest sum (Kuhn, 1955).

    Returns:
        k host labels.
    """
    return _greedy(benefit) if how == "greedy" else _optimal(benefit)


def _greedy(benefit: Tensor) -> Tensor:
    left = benefit.T.contiguous()
    chosen = torch.empty(len(benefit), dtype=torch.int64)
    for _ in range(len(benefit)):
        host, task = divmod(int(left.argmax()), len(benefit))
        chosen[task] = host
        left[host] = left[:, task] = -torch.inf
    return chosen


def _optimal(benefit: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    _, chosen = linear_sum_assignment(benefit.numpy(), maximize=True)
    return torch.from_numpy(chosen.astype(np.int64))


def benefit_of(said: Float[Tensor, "k K"]) -> Tensor:
    """The benefit of counted answers: their number.

    Where a class never gave an answer, among them every class without images, labels that other classes say less are
    better: a small negative number that never outweighs one answer.
    """
    others = said.sum(dim=0) / (2 * said.sum()).clamp(min=1)
    return torch.where(said > 0, said, -others)
