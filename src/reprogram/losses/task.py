"""The cross-entropy of the task scores: the softmax runs over the task's labels alone."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.losses.base import Answered, Loss


class TaskLoss(Loss):
    """-log softmax(t)_y of the task scores t, in nats: the other host labels may say what they like."""

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The cross-entropies."""
        return F.cross_entropy(answered.task, answered.labels, reduction="none")
