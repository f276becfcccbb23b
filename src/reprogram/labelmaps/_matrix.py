"""Maps whose task scores are weighted sums of all host scores."""

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps.base import LabelMap

MAX_WEIGHTS = 2**25
"""The most weights of a map: its program file holds 4 bytes for each."""

STRONGEST = 10
"""The most host labels that `assignment` names for each task label."""


class MatrixMap(LabelMap):
    """A map whose task score i is the sum of all host scores, weighted by row i of `matrix`.

    Attributes:
        matrix: k × K weights; a variant registers it.
    """

    matrix: Tensor

    def first_weights(self) -> Float[Tensor, "k K"]:
        """The weights of the map `first`: 1 for host label i in row i, 0 elsewhere.

        Raises:
            ConfigError: the host has too few labels, or the matrix too many weights.
        """
        self.require_host_labels(self.num_task_labels)
        if self.num_task_labels * self.num_host_labels > MAX_WEIGHTS:
            raise ConfigError(
                f"label map {self.name()}: {self.num_task_labels} x {self.num_host_labels} weights; at most "
                f"{MAX_WEIGHTS:,} are handled, use a map of single labels"
            )
        weights = torch.zeros(self.num_task_labels, self.num_host_labels)  # No memory until it is written.
        weights.diagonal().fill_(1)
        return weights

    def effective(self) -> Float[Tensor, "k K"]:
        """The weights that the scores are multiplied by; `matrix` itself unless a variant scales it."""
        return self.matrix

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Sum the weighted scores."""
        # b x K times K x k
        return scores @ self.effective().to(scores.dtype).T

    def _strongest(self) -> tuple[Tensor, Tensor]:
        """The host labels of the largest absolute weights in each row, and these weights; both k × `STRONGEST`."""
        weights = self.effective().detach()
        labels = weights.abs().topk(min(STRONGEST, weights.shape[1]), dim=1).indices
        return labels, weights.gather(1, labels)

    def assignment(self) -> list[list[int]]:
        """The host labels of the largest absolute weights in each row; only the first one may have weight 0."""
        labels, weights = (tensor.tolist() for tensor in self._strongest())
        return [
            [label for rank, label in enumerate(row) if weights[i][rank] or not rank] for i, row in enumerate(labels)
        ]

    def weights(self) -> list[list[float]]:
        """The weights of the labels that `assignment` returns."""
        rows: list[list[float]] = self._strongest()[1].tolist()
        return [[weight for rank, weight in enumerate(row) if weight or not rank] for row in rows]
