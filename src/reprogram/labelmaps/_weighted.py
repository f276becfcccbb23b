"""Maps whose task scores are weighted sums of all host scores."""

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps.base import LabelMap

MAX_WEIGHTS = 2**25
"""Of a map: its program file holds 4 bytes for each."""
STRONGEST = 10
"""Host labels that `assignment` names for each task label."""


class WeightedMap(LabelMap):
    """Task score i is the sum of all host scores, weighted by row i of `matrix`."""

    matrix: Tensor

    def first_weights(self) -> Float[Tensor, "k K"]:
        """Weight 1 for host label i in row i, as `first` has it.

        Raises:
            ConfigError: too few host labels, or too many weights.
        """
        self.require_host_labels(self.num_task_labels)
        if self.num_task_labels * self.num_host_labels > MAX_WEIGHTS:
            raise ConfigError(
                f"label map {self.name()}: {self.num_task_labels} x {self.num_host_labels} weights; at most "
                f"{MAX_WEIGHTS:,} are handled, use a map of single labels"
            )
        weights = torch.zeros(self.num_task_labels, self.num_host_labels)  # Memory that isn't touched isn't taken.
        weights.diagonal().fill_(1)
        return weights

    def effective(self) -> Float[Tensor, "k K"]:
        """The weights."""
        return self.matrix

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Sum the weighted scores."""
        return scores @ self.effective().to(scores.dtype).T

    def _strongest(self) -> tuple[Tensor, Tensor]:
        weights = self.effective().detach()
        labels = weights.abs().topk(min(STRONGEST, weights.shape[1]), dim=1).indices
        return labels, weights.gather(1, labels)

    def assignment(self) -> list[list[int]]:
        """The host labels of the largest absolute weights; those of weight 0 are left out, but for the first."""
        labels, weights = (part.tolist() for part in self._strongest())
        return [
            [label for place, label in enumerate(row) if weights[i][place] or not place] for i, row in enumerate(labels)
        ]

    def weights(self) -> list[list[float]]:
        """Their weights."""
        rows: list[list[float]] = self._strongest()[1].tolist()
        return [[weight for place, weight in enumerate(row) if weight or not place] for row in rows]
