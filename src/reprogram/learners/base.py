"""The contract of a learner: it asks an objective for losses, or gradients, and improves the learned parameters."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from reprogram.registry import Component
from reprogram.settings import Access

Objective = Callable[[], Tensor]
"""The loss of the current batch at the parameters' current values: a scalar. Each call runs the host."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        fraction: of the budget that is spent, in [0, 1].
        epoch: passes over the training images, as a whole number.
    """

    fraction: float
    epoch: int


class Learner(Component):
    """Improves a program. A variant implements `start` and `step`, and keeps its memory in `state`.

    Args:
        config: the variant's `Config`.
    """

    access: Access = "gradient"
    """What it needs of the host."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Take over the parameters to learn; forget earlier ones."""
        raise NotImplementedError

    def step(self, objective: Objective, progress: Progress) -> float:
        """Improve the parameters on one batch.

        Returns:
            The batch's loss before the step, without penalties.

        Raises:
            DataError: a loss or gradient isn't finite; the parameters are as before.
        """
        raise NotImplementedError

    def shown(self) -> AbstractContextManager[None]:
        """Around validation, which looks at other values if a learner puts them in; it takes them out again."""
        return nullcontext()

    def state(self) -> dict[str, Tensor]:
        """Everything but configuration and parameters that decides the next step."""
        raise NotImplementedError

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned, after `start`."""
        raise NotImplementedError
