"""Each task label is the host label that is predicted most often for its images, no two the same; fitted once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.labelmaps._assign import Assignment, assign, benefit_of
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps.base import GroupMap, RefitSchedule


class Frequency(GroupMap):
    """A one-to-one map fitted to the host's predictions with the program's start values ("FLM" of Chen et al., 2023).

    It is fitted before the first step. The published choice is greedy: the most frequent pair of task label and host
    label first. `optimal` finds the one-to-one map by which most of these images are classified correctly. A class
    without images gets a remaining host label, one that is predicted least for the other classes.
    """

    refit_schedule: RefitSchedule = "once"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            assignment: `greedy` as published, or `optimal` (the Hungarian algorithm).
        """

        assignment: Assignment = "greedy"

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.require_host_labels(num_task_labels)
        self.fit_images = config.images
        self.set_groups(torch.arange(num_task_labels).view(-1, 1))

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Assign host labels by the number of predictions."""
        # k labels as k x 1 groups
        self.groups.copy_(assign(benefit_of(statistics), self.config.assignment).view(-1, 1))
