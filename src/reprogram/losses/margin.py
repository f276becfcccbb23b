"""A smoothed margin: the right class shall be ahead of the others, and by how much more hardly matters."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.losses.base import Answered, Loss


class MarginLoss(Loss):
    """T log(1 + Σ_{i ≠ y} exp((m + t_i - t_y) / T)) of the task scores t: a smooth max(0, m + max_{i ≠ y} t_i - t_y).

    With m = 0 and T = 1 it is the loss `task`. As T falls it becomes Crammer and Singer's hinge, to which images that
    are right by m or more add nothing.

    Reference: Crammer and Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines, JMLR
    2001, equation 3 (the hinge).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            margin: m, in units of the task scores, 0 or more.
            temperature: T, in the same units.
        """

        margin: float = 1.0
        temperature: float = 0.5

        def __post_init__(self) -> None:
            if not 0 <= self.margin < float("inf"):
                raise ConfigError(f"margin={self.margin}; 0 or a positive number is expected")
            if not 1e-3 <= self.temperature <= 1e3:
                raise ConfigError(f"temperature={self.temperature}; 0.001 to 1000 is expected")

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The smoothed margins."""
        task, labels = answered.task, answered.labels
        # m + t_i - t_y for i ≠ y, and 0 for y itself: b x k
        right = F.one_hot(labels, task.shape[1]).bool()
        ahead = (task - task.gather(1, labels[:, None]) + self.config.margin).masked_fill(right, 0.0)
        smooth: Tensor = self.config.temperature * torch.logsumexp(ahead / self.config.temperature, dim=1)
        return smooth
