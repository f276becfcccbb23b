"""Several host labels a task label, chosen by the host's confidence: those it says least, or most, of any image."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps._reduce import Reduce, reduce_rows
from reprogram.labelmaps.base import Fitted, GroupMap


class Confidence(GroupMap):
    """Host labels in the order of their mean score, dealt to the task labels in turn (Neekhara et al., 2022).

    The published order begins with the label of the lowest score, on one image; here the mean over training images
    decides, with the program's start values. The images' own labels have no say.
    """

    fitted: Fitted = "once"

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            labels_per_class: m.
            order: host labels of the `least` score first, as published, or of the `most`.
            reduce: how m scores become one; the authors have `max` and `mean`.
        """

        labels_per_class: int = 10
        order: Literal["least", "most"] = "least"
        reduce: Reduce = "max"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.labels_per_class < 1:
                raise ConfigError(f"labels_per_class={self.labels_per_class}; at least 1 is expected")

    @classmethod
    def example(cls) -> Config:
        """Two labels a class."""
        return cls.Config(labels_per_class=2)

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.num_used = num_task_labels * config.labels_per_class
        self.require_host_labels(self.num_used)
        self.fit_images = config.images
        self.set_groups(self._dealt(torch.arange(num_host_labels)))

    def _dealt(self, order: Tensor) -> Tensor:
        return order[: self.num_used].view(self.config.labels_per_class, self.num_task_labels).T.contiguous()

    def counted(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """The scores."""
        return scores

    def refit(self, said: Float[Tensor, "k K"]) -> None:
        """Sort by the sum of the scores."""
        order = said.sum(dim=0).argsort(descending=self.config.order == "most", stable=True)
        self.groups.copy_(self._dealt(order))

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Reduce the scores of each row."""
        return reduce_rows(scores[:, self.groups], self.config.reduce)
