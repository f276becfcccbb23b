"""Several host labels for each task label, in the order of their mean score: the lowest first, or the highest."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._reduce import Reduce, ReducedGroupMap, check_labels_per_class
from reprogram.labelmaps.base import RefitSchedule


class Confidence(ReducedGroupMap):
    """Host labels in the order of their mean score, dealt to the task labels in turn (Neekhara et al., 2022).

    The published order is by the scores of one image and begins with the lowest; here the mean over training images
    decides, with the program's start values. The images' own labels don't matter.
    """

    refit_schedule: RefitSchedule = "once"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            labels_per_class: m, the number of host labels for each task label.
            order: begin with the `least` score, as published, or with the `most`.
            reduce: how m scores become one; the authors use `max` and `mean`.
        """

        labels_per_class: int = 10
        order: Literal["least", "most"] = "least"
        reduce: Reduce = "max"

        def __post_init__(self) -> None:
            super().__post_init__()
            check_labels_per_class(self.labels_per_class)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.set_groups(self._dealt(torch.arange(num_host_labels)))

    def _dealt(self, order: Tensor) -> Tensor:
        """The groups, k × m: task label i gets the host labels order[i], order[i + k], and so on."""
        return order[: self.num_used].view(self.config.labels_per_class, self.num_task_labels).T.contiguous()

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """All scores of each image, as they are."""
        return scores

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Sort the host labels by the sum of their scores."""
        # Sums over all images, K; their order is that of the means.
        order = statistics.sum(dim=0).argsort(descending=self.config.order == "most", stable=True)
        self.groups.copy_(self._dealt(order))
