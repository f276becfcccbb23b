"""Maps that are fitted to counts of the labels that a host shows, and follow them from step to step."""

from jaxtyping import Float, Int
from torch import Tensor

from reprogram.labelmaps._matrix import MatrixMap
from reprogram.labelmaps.base import RefitSchedule


class CountMap(MatrixMap):
    """A map whose matrix is made from n_ij, how often host label j was shown for images of class i.

    It is first fitted before the first step, and then again at each step, to the answers that the steps paid for
    anyway. Each new image takes away half of an earlier image's weight, so the map follows a program that moves.
    """

    refit_schedule: RefitSchedule = "steps"

    @property
    def labels_per_image(self) -> int:
        """What an image that shows as much as any adds to the counts."""
        return 1

    def on_step(
        self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"], weights: Float[Tensor, " b"] | None = None
    ) -> None:
        """Reduce the weight of earlier answers, add the batch's, and refit."""
        if self.statistics is not None:
            # n = Σ_ij n_ij / labels an image; b new images take away the weight of b / 2 earlier ones: · (1 - b / 2n)
            new = len(scores) if weights is None else float(weights.sum())
            earlier = max(float(self.statistics.sum()) / self.labels_per_image, 1.0)
            self.statistics *= max(0.0, 1 - new / (2 * earlier))
        super().on_step(scores, labels, weights)
