"""What learners that follow the program's gradient have in common: the schedule, the penalty, one careful step."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, DataError
from reprogram.learners.base import Learner, Objective, Progress
from reprogram.registry import later

AVERAGE, STEPS = "average", "average_steps"
"""Names in a learner's saved state."""

MAX_RATE = 1e6
"""A million steps of it are still finite numbers."""

MILESTONES = (0.5, 0.72)
"""Where the schedule `milestones` falls, as fractions of the budget: ILM-VP's and AutoVP's."""


class Descent(Learner):
    """Minimises the loss by the learned parameters' gradients. A variant implements `move`, and `memory` if it has one.

    Only the learned parameters get gradients; nothing accumulates in the host. Variants call PyTorch's functions
    (`torch.optim.adam.adam`): its classes compute the same with them, but import torch._dynamo first, which takes as
    long as PyTorch itself.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            learning_rate: step size at the start.
            schedule: `cosine` falls to 0 over the budget, `step` multiplies by `decay` every `decay_epochs` epochs,
                `milestones` divides by ten when 50 % of the budget are spent and again at 72 %, `constant` stays.
            decay: factor of the step schedule (the paper's 0.96).
            decay_epochs: epochs between its steps (the paper's 2).
            penalty: λ of the penalty λ‖W‖², the sum of the squares of all learned numbers.
            average: what the exponential average of the learned numbers keeps of itself in a step; validation looks at
                this average, and it is what is kept in the end. 0, the default, averages nothing.
        """

        learning_rate: float = 0.05
        schedule: Literal["cosine", "step", "milestones", "constant"] = "cosine"
        decay: float = 0.96
        decay_epochs: int = 2
        penalty: float = 0.0
        average: float = later(0.0)

        def __post_init__(self) -> None:
            if not 0 < self.learning_rate <= MAX_RATE:
                raise ConfigError(
                    f"learning_rate={self.learning_rate}; a number above 0, {MAX_RATE:g} at most, is expected"
                )
            if not 0 < self.decay <= 1 or self.decay_epochs < 1:
                raise ConfigError("decay lies in (0, 1] and decay_epochs is at least 1")
            if not 0 <= self.penalty < math.inf:
                raise ConfigError(f"penalty={self.penalty}; 0 or a positive number is expected")
            if not 0 <= self.average < 1:
                raise ConfigError(f"average={self.average}; a number in [0, 1) is expected")

    def memory(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is remembered of a parameter, before the first step."""
        return {}

    def move(self, gradients: list[Tensor], rate: float) -> None:
        """Change `self.parameters`, and their entries in `self.memories`, by a step of that size."""
        raise NotImplementedError

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Begin with an empty memory."""
        self.parameters = parameters
        self.memories = [self.memory(parameter.detach()) for parameter in parameters]
        self._averages: list[Tensor] = []
        self._steps = 0

    def remembered(self, name: str) -> list[Tensor]:
        """Of that name, of each parameter."""
        return [memory[name] for memory in self.memories]

    def learning_rate(self, progress: Progress) -> float:
        """The step size at this point of the run."""
        config = self.config
        if config.schedule == "cosine":
            return float(config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress.fraction, 1.0))))
        if config.schedule == "step":
            return float(config.learning_rate * config.decay ** (progress.epoch // config.decay_epochs))
        if config.schedule == "milestones":
            return float(config.learning_rate * 0.1 ** sum(progress.fraction >= place for place in MILESTONES))
        return float(config.learning_rate)

    def step(self, objective: Objective, progress: Progress) -> float:
        """One step down."""
        loss = objective()
        total = loss
        if self.config.penalty:
            total = loss + self.config.penalty * torch.stack([p.square().sum() for p in self.parameters]).sum()
        gradients = torch.autograd.grad(total, self.parameters, allow_unused=True, materialize_grads=True)
        squares = (value.square() for value in gradients)  # Adam sums them: they must be finite too.
        if not all(bool(torch.isfinite(value).all()) for value in (loss, *squares)):
            raise DataError(
                "the loss or its gradient isn't finite; lower learner gradient(learning_rate=...) or check the host"
            )
        with torch.no_grad():
            self.move(list(gradients), self.learning_rate(progress))
        if self.config.average:
            self._follow()
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """Average: of the first steps all alike, so that the start values don't stay in it."""
        self._averages = self._averages or [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps += 1
        share = max(1 - self.config.average, 1 / self._steps)
        for average, parameter in zip(self._averages, self.parameters, strict=True):
            average.lerp_(parameter, share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The averages, where there are some."""
        if not self._averages:
            yield
            return
        own = [parameter.detach().clone() for parameter in self.parameters]
        try:
            self._put(self._averages)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """What is remembered of each parameter; averages and their steps, where there are some."""
        averages = {f"{index}.{AVERAGE}": value for index, value in enumerate(self._averages)}
        if averages:
            averages[STEPS] = torch.tensor(self._steps)
        return averages | {
            f"{index}.{name}": value for index, memory in enumerate(self.memories) for name, value in memory.items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what was remembered."""
        state = dict(state)
        if STEPS in state:
            self._steps = int(state.pop(STEPS))
            places = range(len(self.parameters))
            self._averages = [state.pop(f"{index}.{AVERAGE}").to(self.parameters[index]) for index in places]
        for key, value in state.items():
            index, _, name = key.partition(".")
            self.memories[int(index)][name].copy_(value)
