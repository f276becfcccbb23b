"""Adam on the program's gradient: white-box learning, as in the 2018 paper."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, DataError
from reprogram.learners.base import Learner, Objective, Progress

MAX_RATE = 1e6
"""A million steps of it are still finite numbers."""


class Gradient(Learner):
    """Minimises −log P(h_g(y) | X_adv) + λ‖W‖² by Adam (paper, equation 3).

    Only the learned parameters get gradients; nothing accumulates in the host.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            learning_rate: Adam's step size at the start.
            schedule: `cosine` falls to 0 over the budget, `step` multiplies by `decay` every `decay_epochs` epochs,
                `constant` stays.
            decay: factor of the step schedule (the paper's 0.96).
            decay_epochs: epochs between its steps (the paper's 2).
            penalty: λ of the penalty λ‖W‖², the sum of the squares of all learned numbers.
            betas: Adam's decay rates of first and second moment.
        """

        learning_rate: float = 0.05
        schedule: Literal["cosine", "step", "constant"] = "cosine"
        decay: float = 0.96
        decay_epochs: int = 2
        penalty: float = 0.0
        betas: tuple[float, float] = (0.9, 0.999)

        def __post_init__(self) -> None:
            if not 0 < self.learning_rate <= MAX_RATE:
                raise ConfigError(
                    f"gradient: learning_rate={self.learning_rate}; a number from 0 to {MAX_RATE:g} is expected"
                )
            if not 0 < self.decay <= 1 or self.decay_epochs < 1:
                raise ConfigError("gradient: decay lies in (0, 1] and decay_epochs is at least 1")
            if not 0 <= self.penalty < math.inf:
                raise ConfigError(f"gradient: penalty={self.penalty}; 0 or a positive number is expected")
            if not all(0 <= beta < 1 for beta in self.betas):
                raise ConfigError(f"gradient: betas={self.betas}; two numbers in [0, 1) are expected")

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Begin with empty moments."""
        self.parameters = parameters
        self.adam = torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=self.config.betas)

    def learning_rate(self, progress: Progress) -> float:
        """The step size at this point of the run."""
        config = self.config
        if config.schedule == "cosine":
            return float(config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress.fraction, 1.0))))
        if config.schedule == "step":
            return float(config.learning_rate * config.decay ** (progress.epoch // config.decay_epochs))
        return float(config.learning_rate)

    def step(self, objective: Objective, progress: Progress) -> float:
        """One step of Adam."""
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
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate(progress)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return float(loss.detach())

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step counts, a parameter."""
        stored = self.adam.state_dict()["state"]
        return {f"{index}.{name}": value for index, entry in stored.items() for name, value in entry.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over Adam's moments."""
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            index, _, name = key.partition(".")
            entries.setdefault(int(index), {})[name] = value
        self.adam.load_state_dict({**self.adam.state_dict(), "state": entries})
