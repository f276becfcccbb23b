"""What a run keeps between two steps: everything that decides the next one, in its checkpoint."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reprogram.checkpoint import Checkpoint, Interval
from reprogram.errors import ConfigError
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed


@dataclass(kw_only=True)
class RunState:
    """Everything that decides the next step, but for the tensors."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    validations: int = 0
    validated_step: int = -1
    best_correct: int = -1
    best_loss: float = float("inf")
    best_step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Keeper:
    """Keeps a run's state in its checkpoint.

    Args:
        model: what is learned.
        learner: what improves it.
        made_from: what the run is a function of, by the names that a message uses.
        path: of the checkpoint; None keeps nothing.
        interval: how often it is written.
    """

    def __init__(
        self,
        model: Reprogrammed,
        learner: Learner,
        made_from: dict[str, Any],
        path: str | Path | None,
        interval: Interval,
    ) -> None:
        self.model, self.learner, self.made_from, self.interval = model, learner, made_from, interval
        self.checkpoint = Checkpoint(Path(path)) if path is not None else None
        self.saved_step, self.saved = 0, time.monotonic()

    def is_time(self, step: int) -> bool:
        """Whether the interval since the last save is over."""
        return self.interval.is_over(step - self.saved_step, time.monotonic() - self.saved)

    def save(self, state: RunState, best: dict[str, Tensor]) -> None:
        """Write everything that decides the next step.

        Raises:
            DataError: it can't be written; the former state is as it was.
        """
        if self.checkpoint is None:
            return
        tensors = {f"now/{k}": v for k, v in self.model.learned_state().items()}
        tensors |= {f"best/{k}": v for k, v in best.items()}
        tensors |= {f"learner/{k}": v for k, v in self.learner.state().items()}
        if self.model.label_map.heard is not None:
            tensors["heard/said"] = self.model.label_map.heard
        tensors["random/cpu"] = torch.get_rng_state()
        if self.model.canvas.frame.is_cuda:
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.model.canvas.frame.device)
        meter = dataclasses.asdict(self.model.host.meter)
        record = {"state": dataclasses.asdict(state), "meter": meter, "made_from": self.made_from}
        self.checkpoint.save(tensors, record)
        self.saved_step, self.saved = state.step, time.monotonic()

    def load(self) -> tuple[RunState, dict[str, Tensor], dict[str, dict[str, Tensor]]] | None:
        """Counters, best program and all other tensors, by group; None where nothing was saved.

        Raises:
            ConfigError: they are of another run.
            DataError: damaged.
        """
        found = self.checkpoint.load() if self.checkpoint is not None else None
        if found is None or self.checkpoint is None:
            return None
        tensors, record = found
        for part in {**self.made_from, **record["made_from"]}:
            if record["made_from"].get(part) != self.made_from.get(part):
                raise ConfigError(
                    f"{self.checkpoint.path}: is of a run with another {part}; give the same to go on, or start "
                    "elsewhere"
                )
        groups: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "learner": {}, "heard": {}, "random": {}}
        for key, value in tensors.items():
            family, _, name = key.partition("/")
            groups[family][name] = value
        meter = self.model.host.meter
        meter.calls, meter.images = meter.calls + record["meter"]["calls"], meter.images + record["meter"]["images"]
        state = RunState(**record["state"])
        self.saved_step = state.step
        return state, groups.pop("best"), groups

    def take_over(self, groups: dict[str, dict[str, Tensor]]) -> None:
        """Bring model, learner and random numbers to what was saved."""
        self.model.load_learned_state(groups["now"])
        self.learner.load_state(groups["learner"])
        self.model.label_map.heard = groups["heard"].get("said")
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"] and self.model.canvas.frame.is_cuda:
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.model.canvas.frame.device)


@contextlib.contextmanager
def own_random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's random numbers as a function of the seed; the caller's go on afterwards as if nothing had been."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
