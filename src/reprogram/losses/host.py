"""The paper's: the softmax runs over all the host's labels, so the host's own answer has to become "tench"."""

from jaxtyping import Float
from torch import Tensor

from reprogram.losses.base import Answered, Loss


class HostLoss(Loss):
    """-log P(h_g(y) | X_adv), in nats, with the host's probabilities.

    Reference: Elsayed, Goodfellow and Sohl-Dickstein, Adversarial Reprogramming of Neural Networks, 2019, equation 3.
    """

    reads_host = True
    bounded = False
    needs_own_labels = True

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The negative logarithms of the host's probabilities."""
        # log sum_j exp(host score j) - task score y: b
        return answered.host.logsumexp(dim=1) - answered.task.gather(1, answered.labels[:, None])[:, 0]
