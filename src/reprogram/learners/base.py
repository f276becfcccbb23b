"""The contract of a learner: it asks an objective for losses, or gradients, and improves the learned parameters."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from reprogram.registry import Component
from reprogram.types import Access


class Objective(Protocol):
    """The loss of a step's batch. Each call runs the host."""

    @property
    def num_images(self) -> int:
        """The images of the batch."""

    @property
    def whole_batch(self) -> bool:
        """Whether an image's loss depends on the images that are asked with it: then all are asked at once."""

    def __call__(self) -> Tensor:
        """The mean loss of the batch at the parameters' current values, a scalar with a gradient."""

    def losses(self, points: Tensor, images: slice) -> Tensor:
        """The loss of each image at each of several points, without a gradient; the parameters stay as they are.

        Args:
            points: p × d, values of all learned numbers.
            images: which images of the batch, from `start` to `stop`.

        Returns:
            p × m, for m images.
        """


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A point of a run.

    Attributes:
        fraction: the part of the budget that is spent, in [0, 1].
        epoch: the number of finished passes over the training images.
    """

    fraction: float
    epoch: int

    @property
    def cosine(self) -> float:
        """The factor (1 + cos(π t)) / 2 of a step size that falls from 1 to 0, with the spent fraction t."""
        return 0.5 * (1 + math.cos(math.pi * min(self.fraction, 1.0)))


class Learner(Component):
    """Improves a program. A variant implements `start`, `step`, `state_dict` and `load_state_dict`.

    Args:
        config: the variant's `Config`.
    """

    access: Access = "gradient"
    """The access to the host that the learner needs."""

    takes_steps: bool = True
    """Whether it improves anything; a run whose learner doesn't takes no step."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def num_losses(self) -> int:
        """The most losses of the whole batch that a `step` asks for: one, unless a learner compares several points."""
        return 1

    def rounds(self, num_images: int) -> list[slice]:
        """The parts of a batch that a `step` asks for in turn, each by requests of its own; all at once by default.

        Args:
            num_images: of the batch.
        """
        return [slice(0, num_images)]

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Take over the parameters to learn, and forget earlier ones.

        Args:
            parameters: of program and label map; each `step` changes them in place.
        """
        raise NotImplementedError

    def step(self, objective: Objective, progress: Progress) -> float:
        """Improve the parameters on one batch.

        Args:
            objective: the loss of the batch at the parameters' current values.
            progress: the point of the run, for schedules.

        Returns:
            The batch's loss before the step, without penalties.

        Raises:
            DataError: a loss or gradient isn't finite; the parameters are as before.
        """
        raise NotImplementedError

    def eval_weights(self) -> AbstractContextManager[None]:
        """The context of validation: a learner may put other values into the parameters and then restores them."""
        return nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors that decide the next step together with configuration and parameters, by name."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned; called after `start`.

        Args:
            state: tensors by name.
        """
        raise NotImplementedError
