"""The base of learners that get by with losses: a population of points, asked on one batch, and no gradient."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from reprogram.errors import ConfigError, DataError
from reprogram.learners._racing import in_race, mean_losses, reliability, rounds, staying
from reprogram.learners.base import Learner, Objective, Progress
from reprogram.types import Access

MAX_SEED = 2**62
"""Every seed of a run's random numbers is smaller."""


class QueryLearner(Learner):
    """Minimises the loss by comparing points: the host only has to answer.

    A variant implements `ask` and `tell`, and `init_state` if it keeps vectors from step to step. All points are asked
    on the same images. Random numbers depend on the run's seed and on the number of the step, so that a continued run
    draws the same.

    Two options of every variant save images. With `race`, points that are clearly worse aren't asked on the rest of
    the batch. With `reliability`, points whose losses differ by little more than the noise of the images are asked on
    the next batch too, before the search moves.
    """

    access: Access = "label"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of every learner that only asks.

        Attributes:
            race: a point leaves when it is worse than the better half of a step's points by so many standard errors of
                the difference, on the images that it was asked on so far; 0 asks for every point on every image.
            reliability: the least part, in [0, 1), of the variance of the points' losses that has to come from the
                points and not from the images; else they are asked on another batch. 0 always takes one batch.
            max_batches: the most batches that the same points are asked on.
        """

        race: float = 0.0
        reliability: float = 0.0
        max_batches: int = 8

        def __post_init__(self) -> None:
            if not (0 <= self.race < math.inf and 0 <= self.reliability < 1 and self.max_batches >= 1):
                raise ConfigError(
                    f"race={self.race}, reliability={self.reliability}, max_batches={self.max_batches}; race is 0 or "
                    "positive, reliability lies in [0, 1), and at least one batch is asked"
                )

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
        self.num_steps = self.num_batches = 0
        self.table = torch.empty(0, 0)  # The losses of the points that are waiting for another batch.
        self.seed = int(torch.randint(MAX_SEED, ()))

    def step(self, objective: Objective, progress: Progress) -> float:
        """Ask for the losses of a population on one batch, and move, or wait for another batch.

        Returns:
            The mean of the losses.
        """
        point = parameters_to_vector(self.parameters).detach().clone()
        generator = torch.Generator().manual_seed((self.seed + self.num_steps) % MAX_SEED)
        points = self.ask(point, generator)
        table = self._asked(objective, points)
        losses = mean_losses(table)
        self.num_batches += 1
        if self._wait(table):
            self.table = table
            return float(losses.mean())
        with torch.no_grad():
            vector_to_parameters(self.tell(point, points, losses, progress), self.parameters)
        self.table, self.num_batches = table[:, :0], 0
        self.num_steps += 1
        return float(losses.mean())

    def rounds(self, num_images: int) -> list[slice]:
        """The parts of the batch after which points may leave."""
        return rounds(num_images) if self.config.race else super().rounds(num_images)

    def _wait(self, table: Tensor) -> bool:
        """Whether the points have to be asked on another batch before their losses say enough."""
        least = self.config.reliability
        return bool(least and self.num_batches < self.config.max_batches and reliability(table) < least)

    def _asked(self, objective: Objective, points: Tensor) -> Tensor:
        """The points' losses so far with those of this batch: p × m, NaN where a point had left."""
        table = self.table.to(points) if self.num_batches else points.new_empty(len(points), 0)
        race = 0.0 if objective.whole_batch else self.config.race
        for images in self.rounds(objective.num_images) if race else [slice(0, objective.num_images)]:
            stay = staying(table, race) if race else in_race(table)
            losses = objective.losses(points[stay], images)
            if not torch.isfinite(losses).all():
                raise DataError(f"a loss isn't finite; check the host, or lower the radius of {self.name()}")
            column = points.new_full((len(points), losses.shape[1]), torch.nan)
            column[stay] = losses.to(points)
            table = torch.cat([table, column], dim=1)
        return table

    def state_dict(self) -> dict[str, Tensor]:
        """The state vectors, the counts, the seed of the random numbers, and the losses of points that wait."""
        counts = {"num_steps": self.num_steps, "seed": self.seed, "num_batches": self.num_batches}
        tensors = {name: torch.tensor(value) for name, value in counts.items()}
        return {**tensors, "table": self.table, **self.state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned; called after `start`."""
        self.num_steps, self.seed, self.num_batches = (
            int(state[name]) for name in ("num_steps", "seed", "num_batches")
        )
        self.table = state["table"].clone()
        self.state = {name: state[name].clone().to(vector.device) for name, vector in self.state.items()}

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
        losses: p; equal losses share their weights, which are all 0 where all losses are equal.

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
    return shared if len(unique) > 1 else torch.zeros_like(shared)
