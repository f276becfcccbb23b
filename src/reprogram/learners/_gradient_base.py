"""The base of learners that follow the program's gradient: schedule, penalty, checked step and weight average."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, DataError
from reprogram.learners.base import Learner, Objective, Progress
from reprogram.registry import added_later

AVERAGE, STEPS = "average", "average_steps"
"""The names of the averages and of their number of steps in a learner's state dictionary."""

MAX_RATE = 1e6
"""The largest step size: a million steps of it still end at finite numbers."""

MILESTONES = (0.5, 0.72)
"""The fractions of the budget at which the schedule `milestones` falls, those of ILM-VP and AutoVP."""


class GradientLearner(Learner):
    """Minimises the loss by the learned parameters' gradients.

    A variant implements `update`, and `init_state` if it keeps tensors from step to step. Only the learned parameters
    get gradients; nothing accumulates in the host. Variants call PyTorch's functions (`torch.optim.adam.adam`): its
    classes compute the same with them, but import torch._dynamo first, which takes as long as PyTorch itself.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            learning_rate: step size at the start.
            schedule: `cosine` falls to 0 over the budget, `step` multiplies by `decay` every `decay_epochs` epochs,
                `milestones` divides by ten when 50 % of the budget are spent and again at 72 %, `constant` stays.
            decay: the factor of the step schedule (0.96 in the paper).
            decay_epochs: the epochs between its steps (2 in the paper).
            penalty: λ of the penalty λ‖W‖², the sum of the squares of all learned numbers.
            ema: the decay rate of an exponential moving average of the learned numbers, in [0, 1). The average is
                validated and kept in the end, instead of the last step's numbers. 0, the default, averages nothing.
        """

        learning_rate: float = 0.05
        schedule: Literal["cosine", "step", "milestones", "constant"] = "cosine"
        decay: float = 0.96
        decay_epochs: int = 2
        penalty: float = 0.0
        ema: float = added_later(0.0)

        def __post_init__(self) -> None:
            if not 0 < self.learning_rate <= MAX_RATE:
                raise ConfigError(
                    f"learning_rate={self.learning_rate}; a number above 0, {MAX_RATE:g} at most, is expected"
                )
            if not 0 < self.decay <= 1 or self.decay_epochs < 1:
                raise ConfigError("decay lies in (0, 1] and decay_epochs is at least 1")
            if not 0 <= self.penalty < math.inf:
                raise ConfigError(f"penalty={self.penalty}; 0 or a positive number is expected")
            if not 0 <= self.ema < 1:
                raise ConfigError(f"ema={self.ema}; a number in [0, 1) is expected")

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state tensors of a parameter before the first step, by name; by default there are none.

        Args:
            parameter: one learned parameter, detached.
        """
        return {}

    def update(self, gradients: list[Tensor], rate: float) -> None:
        """Change `self.parameters`, and their state tensors in `self.slots`, in place by one step.

        Args:
            gradients: one for each parameter, in its shape.
            rate: the step size at this point of the run.
        """
        raise NotImplementedError

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Take over the parameters to learn, with new state tensors and no averages."""
        self.parameters = parameters
        self.slots = [self.init_state(parameter.detach()) for parameter in parameters]
        self._averages: list[Tensor] = []
        self._steps = 0

    def slot(self, name: str) -> list[Tensor]:
        """The state tensor `name` of every parameter, in order.

        Args:
            name: a key of the dictionary that `init_state` returns.
        """
        return [state[name] for state in self.slots]

    def learning_rate(self, progress: Progress) -> float:
        """The step size at a point of the run.

        Args:
            progress: the spent fraction of the budget, and the epoch.
        """
        config = self.config
        if config.schedule == "cosine":
            return float(config.learning_rate * progress.cosine)
        if config.schedule == "step":
            return float(config.learning_rate * config.decay ** (progress.epoch // config.decay_epochs))
        if config.schedule == "milestones":
            return float(config.learning_rate * 0.1 ** sum(progress.fraction >= milestone for milestone in MILESTONES))
        return float(config.learning_rate)

    def step(self, objective: Objective, progress: Progress) -> float:
        """Make one step down the gradient of the loss and its penalty; a `ConfigError` where the loss has none."""
        loss = objective()
        if not loss.requires_grad:
            raise ConfigError(
                f"the loss has no gradient for {self.name()} to follow: host, label map or loss computes without one "
                "(no_grad, detach, NumPy); mend that, or take a learner that needs none, such as spsa-gc"
            )
        total = loss
        if self.config.penalty:
            # loss + λ ‖W‖²
            total = loss + self.config.penalty * torch.stack([p.square().sum() for p in self.parameters]).sum()
        gradients = torch.autograd.grad(total, self.parameters, allow_unused=True, materialize_grads=True)
        # Adam averages squares: they must be finite too.
        finite = torch.stack([torch.isfinite(value.square()).all() for value in gradients]).all()
        # One transfer a step: a GPU would stand still for each.
        value, is_finite = torch.stack([loss.detach(), finite.to(loss)]).tolist()
        if not (is_finite and math.isfinite(value)):
            raise DataError(
                f"the loss or its gradient isn't finite; lower {self.name()}(learning_rate=...) or check the host"
            )
        with torch.no_grad():
            self.update(list(gradients), self.learning_rate(progress))
        if self.config.ema:
            self._update_averages()
        return float(value)

    @torch.no_grad()
    def _update_averages(self) -> None:
        """Average over steps; the first steps have equal weights, so the start values have none."""
        self._averages = self._averages or [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps += 1
        # average + share · (parameter - average), share = max(1 - ema, 1 / steps)
        share = max(1 - self.config.ema, 1 / self._steps)
        for average, parameter in zip(self._averages, self.parameters, strict=True):
            average.lerp_(parameter, share)

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        """Put the averages into the parameters for the time of the context, if there are any."""
        if not self._averages:
            yield
            return
        current = [parameter.detach().clone() for parameter in self.parameters]
        try:
            self._put(self._averages)
            yield
        finally:
            self._put(current)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The state tensors by `INDEX.NAME`, and the averages with their number of steps if there are any."""
        averages = {f"{index}.{AVERAGE}": value for index, value in enumerate(self._averages)}
        if averages:
            averages[STEPS] = torch.tensor(self._steps)
        return averages | {
            f"{index}.{name}": value for index, tensors in enumerate(self.slots) for name, value in tensors.items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""
        state = dict(state)
        if STEPS in state:
            self._steps = int(state.pop(STEPS))
            self._averages = [
                state.pop(f"{index}.{AVERAGE}").to(parameter) for index, parameter in enumerate(self.parameters)
            ]
        for key, value in state.items():
            index, _, name = key.partition(".")
            self.slots[int(index)][name].copy_(value)
