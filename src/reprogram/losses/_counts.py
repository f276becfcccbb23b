"""How often each answer was given for images of each class."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reprogram.losses.base import Answered


def top_labels(host: Float[Tensor, "b K"]) -> Int[Tensor, " b"]:
    """The host label of each answer; K, as a label of its own, for an answer that shows none.

    Args:
        host: b × K host scores; where all are alike, no label is shown.
    """
    silent = host.amax(dim=1) <= host.amin(dim=1)
    return torch.where(silent, host.shape[1], host.argmax(dim=1))


def table(answered: Answered) -> tuple[Float[Tensor, "k m"], Float[Tensor, "k m"], Int[Tensor, " b"]]:
    """The counts of the m different top labels of a batch, by class.

    Args:
        answered: the batch.

    Returns:
        k × m, how many images of class i have answer j, in float64; k × m, the earlier answers' counts of the same
        labels, 0 where none are kept; and b, the column of each image.
    """
    tops, column = torch.unique(top_labels(answered.host), return_inverse=True)
    counts = torch.zeros(answered.task.shape[1], len(tops), dtype=torch.float64, device=column.device)
    counts.index_put_((answered.labels, column), counts.new_ones(len(column)), accumulate=True)
    earlier = torch.zeros_like(counts)
    if answered.counts is not None:
        known = tops < answered.host.shape[1]
        earlier[:, known] = answered.counts.to(earlier)[:, tops[known]]
    return counts, earlier, column
