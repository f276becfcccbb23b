"""Each task label is the host label that its images are most often taken for, no two the same; fitted once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.labelmaps._assign import Assignment, assign, benefit_of
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps.base import Fitted, GroupMap


class Frequency(GroupMap):
    """Fitted before the first step to the host's answers with the program's start values ("FLM" of Chen et al., 2023).

    The published choice is greedy: the most frequent pair of task label and host label first. `optimal` finds the
    one-to-one map by which most of these images are classified rightly. A class without images gets a host label that
    is left over, one that other classes say least; the other classes keep theirs.
    """

    fitted: Fitted = "once"

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

    def refit(self, said: Float[Tensor, "k K"]) -> None:
        """Assign by the number of answers."""
        self.groups.copy_(assign(benefit_of(said), self.config.assignment).view(-1, 1))
