"""Several random host labels stand for each task label: their mean, largest or log-sum-exp score."""

from dataclasses import dataclass

from reprogram.labelmaps._reduce import Reduce, ReducedGroupMap, check_labels_per_class
from reprogram.utils.seeding import permutation


class ManyToOne(ReducedGroupMap):
    """m host labels for each task label, drawn at random without overlap (Tsai et al., 2020).

    `mean` and `max` act on the scores. `log-sum-exp` is the logarithm of the mean of their exponentials: the softmax
    of the task scores then is the host's own probability of "one of these labels", among all labels that the map uses.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            labels_per_class: m, the number of host labels for each task label.
            reduce: how m scores become one.
            seed: decides the host labels.
        """

        labels_per_class: int = 10
        reduce: Reduce = "log-sum-exp"
        seed: int = 0

        def __post_init__(self) -> None:
            check_labels_per_class(self.labels_per_class)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        labels = permutation(num_host_labels, config.seed, first=self.num_used)
        self.set_groups(labels.view(num_task_labels, config.labels_per_class))
