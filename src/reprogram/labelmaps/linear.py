"""A learned matrix and bias turn all host scores into task scores; with the program, or without one."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.labelmaps._assign import assign, benefit_of
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps._weighted import WeightedMap


class Linear(WeightedMap):
    """Task scores W s / ⁴√K + b of the K host scores s, W and b learned by the learner together with the program.

    The division tames a learner's steps, for K numbers behind a task score move at once. With the program `none` this
    is a linear probe of the host's scores. It needs the loss `task`: with `host` its scores could grow for ever.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            init: what W starts from: the `first` k host labels, those of the map `frequency` (only this looks at
                `images`), or `random` numbers.
            seed: of the random numbers.
        """

        init: Literal["first", "frequency", "random"] = "first"
        seed: int = 0

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.fitted, self.fit_images = "once" if config.init == "frequency" else "never", config.images
        self.scale: float = num_host_labels**-0.25
        weights = self.first_weights()
        if config.init == "random":
            weights.normal_(generator=torch.Generator().manual_seed(config.seed))
        else:
            weights.diagonal().div_(self.scale)
        self.matrix = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.zeros(num_task_labels))

    def refit(self, said: Float[Tensor, "k K"]) -> None:
        """Start from the most frequent answers."""
        with torch.no_grad():
            chosen = assign(benefit_of(said), "greedy").view(-1, 1)
            self.matrix.copy_(torch.zeros_like(said).scatter(1, chosen, 1 / self.scale))

    def effective(self) -> Float[Tensor, "k K"]:
        """W / ⁴√K."""
        return self.matrix * self.scale

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Matrix and bias."""
        return super().run(scores) + self.bias.to(scores.dtype)
