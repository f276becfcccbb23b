"""Maps that are fitted to counts of the labels that a host shows, and follow them from step to step."""

from jaxtyping import Float, Int
from torch import Tensor

from reprogram.labelmaps._matrix import MatrixMap
from reprogram.labelmaps.base import RefitSchedule


class CountMap(MatrixMap):
    """A map whose matrix is made from n_ij, how often host label j was shown for images of class i.

    It is first fitted before the first step, and then again at each step, to the answers that the steps paid for
    anyway. What is new takes away half as much of what was counted before, so the map follows a program that moves.
    """

    refit_schedule: RefitSchedule = "steps"

    def on_step(
        self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"], weights: Float[Tensor, " b"] | None = None
    ) -> None:
        """Reduce the weight of earlier answers, add the batch's, and refit."""
        earlier, self.statistics = self.statistics, None
        self.update(scores, labels, weights)
        added: Tensor | None = self.statistics
        if earlier is not None and added is not None and (n := _total(earlier)):
            # n = Σ_ij n_ij; a batch that adds a takes away a / 2: · (1 - a / 2n)
            added += max(0.0, 1 - _total(added) / (2 * n)) * earlier
        self.fit_from_statistics()


def _total(statistics: Float[Tensor, "*parts k K"]) -> float:
    """Σ_ij n_ij; of several matrices the first one is n."""
    return float(statistics[(0,) * (statistics.ndim - 2)].sum())
