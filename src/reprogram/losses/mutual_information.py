"""What the host's top labels and the classes have in common in a batch; for labels alone."""

from jaxtyping import Float
from torch import Tensor

from reprogram.losses._counts import table
from reprogram.losses.base import Answered, Loss


class MutualInformation(Loss):
    """-log(n_yj n / (n_y n_j)) of each image's class y and top label j, plus the bias of so few images.

    The mean over the n images of the batch is minus the mutual information of labels and classes, in nats, by their
    counts n_ij. By these it comes out too large, by (cells - rows - columns + 1) / 2 n on average for so many cells,
    rows and columns that aren't empty. It needs large batches: where most labels come once, all is bias, and
    `leave-one-out` says more. An answer that shows no label counts as a label of its own. It has no gradient.

    Reference: Miller, Note on the Bias of Information Estimates, 1955.
    """

    differentiable = False
    reads_host = True
    whole_batch = True

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """Minus the pointwise mutual information of each image, and the bias."""
        counts, _, column = table(answered)
        total, classes, answers = counts.sum(), counts.sum(dim=1), counts.sum(dim=0)
        # log(n_yj n / (n_y n_j)), b
        joint, chance = counts[answered.labels, column], classes[answered.labels] * answers[column]
        information = (joint * total / chance).log()
        # (cells - rows - columns + 1) / 2n
        bias = (counts.count_nonzero() - classes.count_nonzero() - answers.count_nonzero() + 1) / (2 * total)
        return (bias - information).to(answered.task.dtype)
