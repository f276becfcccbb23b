"""The rank of the right label among those that the host shows; for hosts that answer with the first few."""

from jaxtyping import Float
from torch import Tensor

from reprogram.losses.base import Answered, Loss


class RankLoss(Loss):
    """The logarithm of the right label's rank, 0 where it comes first; numbers don't count, their order does.

    Where each task label is one host label, its rank is that among all K, and it falls long before the label comes
    first. With other label maps it is the rank of the task score among the k. Equal scores share their mean rank: that
    is what is known of labels that an answer doesn't show. It has no gradient.
    """

    differentiable = False
    reads_host = True

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The logarithms of the ranks."""
        own = answered.task.gather(1, answered.labels[:, None])
        others = answered.host if answered.single_labels is not None else answered.task
        # 1 + how many are larger + half of how many others are equal: b
        larger, equal = (others > own).sum(dim=1), (others == own).sum(dim=1)
        ranks = 1 + larger + (equal - 1) / 2
        return ranks.to(own.dtype).log()
