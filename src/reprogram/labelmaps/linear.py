"""A learned matrix and bias turn all host scores into task scores; with the program, or without one."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.labelmaps._assign import assign, benefit_of
from reprogram.labelmaps._fitted import FittedConfig
from reprogram.labelmaps._weighted import WeightedMap
from reprogram.registry import later

PACE = 1000**0.5
"""How far a step of Adam moves a task score, times K: it moves all K numbers behind it at once."""
LEAST_SPREAD = 1e-6
"""Of scores: where a host says the same of all images, nothing is divided."""


class Linear(WeightedMap):
    """Task scores W s / ⁴√K + b of the K host scores s, W and b learned by the learner together with the program.

    The division tames a learner's steps, for K numbers behind a task score move at once. With the program `none` this
    is a linear probe of the host's scores. It needs the loss `task`: with `host` its scores could grow for ever.

    With `standardize` they are √1000 W (s - m) / (r K) + b: m are the K scores' means over the first training images,
    r is the root mean square of what then is left. The map is as linear as before, but the learner moves in other
    coordinates. What all images have in common is most of a host's scores, and drowns what tells them apart; and the
    map starts small, with 1 / √K for the first host labels, so that the program has to learn as well.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(FittedConfig):
        """Options.

        Attributes:
            init: what W starts from: the `first` k host labels, those of the map `frequency` (only this looks at
                `images`), or `random` numbers.
            seed: of the random numbers.
            standardize: training images that the scores' means are taken from, before the first step; 0 takes the
                scores as they are.
        """

        init: Literal["first", "frequency", "random"] = "first"
        seed: int = 0
        standardize: int = later(0)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.standardize < 0:
                raise ConfigError(f"standardize={self.standardize}; a number of images is expected, 0 for none")

    mean: Tensor
    spread: Tensor

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        looks = {config.images if config.init == "frequency" else 0, config.standardize}
        self.fitted, self.fit_images = "once" if any(looks) else "never", max(looks)
        self.scale: float = PACE / num_host_labels if config.standardize else num_host_labels**-0.25
        self.start: float = (num_host_labels**-0.5 if config.standardize else 1) / self.scale
        weights = self.first_weights()
        if config.init == "random":
            weights.normal_(generator=torch.Generator().manual_seed(config.seed))
        else:
            weights.diagonal().mul_(self.start)
        self.matrix = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.zeros(num_task_labels))
        if config.standardize:
            self.register_buffer("mean", torch.zeros(num_host_labels))
            self.register_buffer("spread", torch.ones(1))

    def statistics(self) -> Float[Tensor, "parts k K"]:
        """How often the host says each label of each class; sums of its scores; sums of their squares."""
        return torch.zeros(3, self.num_task_labels, self.num_host_labels, dtype=torch.float64)

    def counted(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "parts b K"]:
        """The largest score, all scores, their squares."""
        return torch.stack([super().counted(scores), scores, scores.square()])

    def refit(self, said: Float[Tensor, "parts k K"]) -> None:
        """Standardize; start from the most frequent answers."""
        answers, sums, squares = said
        with torch.no_grad():
            if self.config.standardize:
                mean = sums.sum(0) / answers.sum()
                spread = ((squares.sum(0) / answers.sum() - mean.square()).clamp(min=0).mean()).sqrt()
                self.mean.copy_(mean)
                self.spread.fill_(float(spread) if spread > LEAST_SPREAD else 1.0)
            if self.config.init == "frequency":
                chosen = assign(benefit_of(answers), "greedy").view(-1, 1)
                self.matrix.copy_(torch.zeros_like(answers).scatter(1, chosen, self.start))

    def effective(self) -> Float[Tensor, "k K"]:
        """What the scores are multiplied by: W / ⁴√K, or √1000 W / (r K)."""
        return self.matrix * self.scale / (self.spread if self.config.standardize else 1)

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Matrix and bias."""
        centred = scores - self.mean.to(scores.dtype) if self.config.standardize else scores
        return super().run(centred) + self.bias.to(scores.dtype)

    def validate(self) -> None:
        """The spread of the scores is positive."""
        if self.config.standardize and not self.spread > 0:
            raise ConfigError("label map linear: the scores' spread isn't positive")
