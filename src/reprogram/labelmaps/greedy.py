"""Every host label speaks for the one task label whose images it is said of most; all host labels have a say."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.labelmaps._assign import assign
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps._reduce import Reduce, reduce_owned
from reprogram.labelmaps.base import LabelMap

TIES = 2.0**-20
"""How much a probability counts beside one answer; too little to outweigh it."""


class Greedy(LabelMap):
    """Many-to-one over all host labels, as rajatvd's AdversarialReprogramming chooses it, by the number of answers.

    Equal numbers, among them those of host labels that are never said, are decided by the mean probability that the
    host gives to the label for images of the class. If a class would be left without a host label, each class first
    gets one of its own, chosen as in `frequency`.
    """

    owner: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            reduce: how the scores of a class's host labels become one; `log-sum-exp` is the logarithm of the sum of
                their exponentials: the host's own probability of "one of these labels".
            refit: fitted `once`, before the first step, or again for each of the `epochs`.
        """

        reduce: Reduce = "log-sum-exp"
        refit: Literal["once", "epochs"] = "once"

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.require_host_labels(num_task_labels)
        self.fitted, self.fit_images = config.refit, config.images
        self.register_buffer("owner", torch.arange(num_host_labels) % num_task_labels)

    def counted(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b K"]:
        """1 for the largest score, and a trace of each probability."""
        return super().counted(scores).double() + TIES * scores.double().softmax(dim=1)

    def refit(self, said: Float[Tensor, "k K"]) -> None:
        """The class with most answers, then with the largest mean probability."""
        answers = said.floor()
        value = answers + (said - answers) / said.sum(dim=1, keepdim=True).clamp(min=1)
        owner = value.argmax(dim=0)
        if owner.bincount(minlength=self.num_task_labels).min() == 0:
            owner[assign(value, "greedy")] = torch.arange(self.num_task_labels)
        self.owner.copy_(owner)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Reduce what belongs together."""
        return reduce_owned(scores, self.owner, self.num_task_labels, self.config.reduce)

    def assignment(self) -> list[list[int]]:
        """The host labels of each task label, in their order."""
        return [(self.owner == label).nonzero().flatten().tolist() for label in range(self.num_task_labels)]

    def validate(self) -> None:
        """Owners are task labels, and each owns something."""
        k = self.num_task_labels
        if self.owner.min() < 0 or self.owner.max() >= k or self.owner.bincount(minlength=k).min() == 0:
            raise ConfigError(f"label map greedy: owners lie outside 0..{k - 1}, or one owns no host label")
