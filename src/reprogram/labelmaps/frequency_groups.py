"""Each task label has the m host labels that are predicted most often for its images, no two the same; fitted once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.labelmaps._assign import assign, benefit_of
from reprogram.labelmaps._config import FittedConfig
from reprogram.labelmaps._reduce import Reduce, ReducedGroupMap, check_labels_per_class


class FrequencyGroups(ReducedGroupMap):
    """As `frequency`, with m host labels for each task label: BAR's multi-label map, by frequency.

    It is fitted before the first step, with the program's start values. In each of m rounds every task label gets one
    more host label, the most frequent remaining pair of both first. A class for whose images fewer labels are
    predicted gets those that are predicted least for the others.

    Reference: Tsai, Chen and Ho, Transfer Learning without Knowing, ICML 2020, section 3.3.
    """

    refit_schedule = "once"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            labels_per_class: m, the number of host labels for each task label.
            reduce: how m scores become one; `log-sum-exp` is the host's own mean probability of them.
        """

        labels_per_class: int = 10
        reduce: Reduce = "log-sum-exp"

        def __post_init__(self) -> None:
            super().__post_init__()
            check_labels_per_class(self.labels_per_class)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fit_images = config.images
        self.set_groups(torch.arange(self.num_used).view(num_task_labels, config.labels_per_class))

    def refit(self, statistics: Float[Tensor, "k K"]) -> None:
        """Assign one more host label to each task label, m times."""
        # k x K
        benefit = benefit_of(statistics)
        for column in range(self.config.labels_per_class):
            labels = assign(benefit, "greedy")
            self.groups[:, column] = labels
            benefit[:, labels] = -torch.inf
