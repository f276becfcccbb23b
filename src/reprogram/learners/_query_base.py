"""The base of learners that get by with losses: a population of points, asked on one batch, and no gradient."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from reprogram.errors import ConfigError, DataError
from reprogram.learners.base import Learner, Objective, Progress
from reprogram.types import Access

MAX_SEED = 2**62
"""Every seed of a run's random numbers is smaller."""


class QueryLearner(Learner):
    """Minimises the loss by comparing points: the host only has to answer.

    A variant implements `ask` and `tell`, and `init_state` if it keeps vectors from step to step. All points of a step
    are asked on the same images. Random numbers depend on the run's seed and on the number of the step, so that a
    continued run draws the same.
    """

    access: Access = "label"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options."""

    def init_state(self, size: int) -> dict[str, Tensor]:
        """The state vectors before the first step, by name; by default there are none.

        Args:
            size: d, how many numbers are learned.
        """
        return {}

    def ask(self, point: Tensor, generator: torch.Generator) -> Tensor:
        """The points of a step, `num_losses` of them.

        Args:
            point: d, where the search stands.
            generator: of this step's random numbers.

        Returns:
            p × d.
        """
        raise NotImplementedError

    def tell(self, point: Tensor, points: Tensor, losses: Tensor, progress: Progress) -> Tensor:
        """Where the search goes on, by the losses of the points.

        Args:
            point: d, where the search stands.
            points: p × d, as `ask` returned them.
            losses: p.
            progress: the point of the run, for schedules.

        Returns:
            d.
        """
        raise NotImplementedError

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Take over the parameters to learn, and draw the seed of the run's random numbers."""
        self.parameters = parameters
        self.state = self.init_state(sum(p.numel() for p in parameters))
        self.num_steps = 0
        self.seed = int(torch.randint(MAX_SEED, ()))

    def step(self, objective: Objective, progress: Progress) -> float:
        """Ask for the losses of a population on one batch, and move.

        Returns:
            The mean of the losses.
        """
        point = parameters_to_vector(self.parameters).detach().clone()
        generator = torch.Generator().manual_seed((self.seed + self.num_steps) % MAX_SEED)
        points = self.ask(point, generator)
        try:
            losses = self._losses(objective, points)
        except BaseException:
            vector_to_parameters(point, self.parameters)
            raise
        with torch.no_grad():
            vector_to_parameters(self.tell(point, points, losses, progress), self.parameters)
        self.num_steps += 1
        return float(losses.mean())

    def _losses(self, objective: Objective, points: Tensor) -> Tensor:
        losses = points.new_empty(len(points))
        with torch.no_grad():
            for i, candidate in enumerate(points):
                vector_to_parameters(candidate, self.parameters)
                losses[i] = objective()
        if not torch.isfinite(losses).all():
            raise DataError(f"a loss isn't finite; check the host, or lower the radius of {self.name()}")
        return losses

    def state_dict(self) -> dict[str, Tensor]:
        """The state vectors, the number of steps and the seed of the random numbers."""
        counts = {"num_steps": torch.tensor(self.num_steps), "seed": torch.tensor(self.seed)}
        return {**counts, **self.state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned; called after `start`."""
        self.num_steps, self.seed = int(state["num_steps"]), int(state["seed"])
        self.state = {name: state[name].clone().to(vector) for name, vector in self.state.items()}

    def normal(self, count: int, point: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal numbers.

        Args:
            count: p, of rows.
            point: d numbers, whose type and device they get.
            generator: draws them on the CPU.

        Returns:
            p × d.
        """
        return torch.randn(count, len(point), generator=generator, dtype=point.dtype).to(point.device)


def check_positive(**values: float) -> None:
    """Refuse options that aren't positive, finite numbers.

    Args:
        values: by their options' names.

    Raises:
        ConfigError: one isn't; names it.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{name}={value}; a positive number is expected")


def clipped(gradient: Tensor, norm: float) -> Tensor:
    """A gradient whose Euclidean norm is at most `norm`.

    Args:
        gradient: d numbers.
        norm: the bound.
    """
    # g · min(1, norm / ‖g‖)
    shorter: Tensor = gradient * (norm / gradient.norm().clamp_min(1e-30)).clamp_max(1.0)
    return shorter


def rank_utilities(losses: Tensor) -> Tensor:
    """Weights that depend on the losses' ranks alone, the largest for the smallest loss; they sum to 0.

    Reference: Wierstra et al., Natural Evolution Strategies, JMLR 2014, section 3.1.

    Args:
        losses: p; equal losses share their weights.

    Returns:
        p.
    """
    count = len(losses)
    ranks = torch.arange(1, count + 1, dtype=losses.dtype, device=losses.device)
    # max(0, log(p/2 + 1) - log k) / sum - 1/p
    raw = (math.log(count / 2 + 1) - ranks.log()).clamp_min(0)
    utilities = raw / raw.sum() - 1 / count
    unique, inverse, sizes = torch.unique(losses, return_inverse=True, return_counts=True)
    sums = torch.zeros_like(unique).index_add_(0, torch.repeat_interleave(sizes), utilities)
    shared: Tensor = (sums / sizes)[inverse]
    return shared
