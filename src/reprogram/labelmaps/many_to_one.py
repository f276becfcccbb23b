"""Several random host labels speak for each task label: their mean, largest or log-sum-exp score."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._reduce import Reduce, reduce_rows
from reprogram.labelmaps.base import GroupMap
from reprogram.permutation import permutation


class ManyToOne(GroupMap):
    """m host labels a task label, drawn at random without overlap (Tsai et al., 2020).

    `mean` and `max` act on the scores. `log-sum-exp` is the logarithm of the mean of their exponentials: the softmax
    of the task scores then is the host's own probability of "one of these labels", among all labels that the map uses.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            labels_per_class: m.
            reduce: how m scores become one.
            seed: chooses the host labels.
        """

        labels_per_class: int = 10
        reduce: Reduce = "log-sum-exp"
        seed: int = 0

        def __post_init__(self) -> None:
            if self.labels_per_class < 1:
                raise ConfigError(f"labels_per_class={self.labels_per_class}; at least 1 is expected")

    @classmethod
    def example(cls) -> Config:
        """Two labels a class."""
        return cls.Config(labels_per_class=2)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        needed = num_task_labels * config.labels_per_class
        self.require_host_labels(needed)
        chosen = permutation(num_host_labels, config.seed, first=needed)
        self.set_groups(chosen.view(num_task_labels, config.labels_per_class))

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Reduce the scores of each row."""
        return reduce_rows(scores[:, self.groups], self.config.reduce)
