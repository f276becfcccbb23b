"""No learner: for label maps that are fitted to the host's answers, without a program; answers alone are enough."""

from dataclasses import dataclass

from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.learners.base import Learner, Objective, Progress
from reprogram.types import Access


class NoLearner(Learner):
    """Takes no step. A run takes it by itself where its program has nothing to learn and its label map is fitted.

    Where a host gives gradients, a map that learns numbers of its own, such as the temperature of `discriminant`, is
    still learned by the run's learner.
    """

    access: Access = "label"
    takes_steps = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    @property
    def num_losses(self) -> int:
        """None: nothing is compared."""
        return 0

    def start(self, parameters: list[nn.Parameter]) -> None:
        """There is nothing to take over; see `Learner.start`."""

    def step(self, objective: Objective, progress: Progress) -> float:
        """Refuse to step: a run without a learner has no steps."""
        raise ConfigError("the learner 'none' improves nothing; use it with the program 'none' and a fitted label map")

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing is continued; see `Learner.load_state_dict`."""
