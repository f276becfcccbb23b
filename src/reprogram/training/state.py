"""The state of a run between two steps, everything that decides the next one, and its checkpoint."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.evaluation.metrics import Evaluation
from reprogram.hosts._store import COUNTS
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.training.checkpoint import Checkpoint, Interval
from reprogram.training.options import MAP_FILES
from reprogram.training.results import FitProgress
from reprogram.types import Precision
from reprogram.utils.files import user_path

PLACE = ("mark", "used", "used_requests", "free")
"""What says how far a run has come in its store of answers."""


@dataclass(kw_only=True)
class TrainState:
    """Everything that decides the next step, but for the tensors.

    Attributes:
        step: steps done.
        images: training images seen, repeats counted.
        seconds: seconds of learning, validation included.
        train_seconds: seconds of the steps alone.
        validations: validations that were due by the time of the last one.
        validated_step: the step of the last validation; -1 before the first.
        best_correct: validation images that the best program classifies rightly.
        best_loss: the best program's validation loss, in nats.
        best_step: the step of the best program.
        loss_sum: the sum of the training losses since the last validation, in nats.
        loss_count: the number of these losses.
        history: a row for each validation.
        precision: the type that the host computes in, so that "auto" goes on as it began on another kind of machine;
            empty in checkpoints of earlier versions.
        num_microbatches: of a batch, so that a run goes on by the same sums with another number of processes; 0 in
            checkpoints of earlier versions.
        queries: images that the host was asked for.
        requests: requests that they came with.
        free: images that it looked at again, which the host had answered already.
        validation_images: the number of images that each validation looks at; None before the first one. 0 stands for
            all in checkpoints of earlier versions, which don't say it.
        map_fitted: whether the label map was fitted before the first step, where it has to be.
    """

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
    precision: Precision | Literal[""] = ""
    num_microbatches: int = 0
    queries: int = 0
    requests: int = 0
    free: int = 0
    validation_images: int | None = None
    map_fitted: bool = False

    def add_step(self, images: int, loss: float) -> None:
        """Count a step.

        Args:
            images: of its batch.
            loss: the batch's training loss, in nats.
        """
        self.step += 1
        self.images += images
        self.loss_sum += loss
        self.loss_count += 1

    def best(self, images: int) -> Evaluation:
        """The evaluation of the best program so far.

        Args:
            images: of a validation.
        """
        return Evaluation(n=images, correct=self.best_correct, loss=self.best_loss)

    def add_row(self, result: Evaluation) -> None:
        """Add a validation to the history, and begin the next mean of the training loss.

        Args:
            result: the evaluation on the validation split at this step.
        """
        self.history.append(
            {
                "step": self.step,
                "images": self.images,
                "seconds": round(self.seconds, 3),
                "loss": self.loss_sum / max(self.loss_count, 1),
                "validation_accuracy": result.accuracy,
                "validation_loss": result.loss,
            }
        )
        self.loss_sum, self.loss_count = 0.0, 0

    def progress(
        self, fraction: float, validation: Evaluation | None, *, validating: float | None = None, bill: str = ""
    ) -> FitProgress:
        """The state for people and programs that watch the run.

        Args:
            fraction: the part of the budget that is spent, 0 to 1.
            validation: the latest validation; None before the first of this process.
            validating: the part of a validation that is done, 0 to 1; None while none goes on.
            bill: what the host has answered, in words.
        """
        return FitProgress(
            fraction=fraction,
            images=self.images,
            seconds=self.seconds,
            loss=self._loss(),
            validation=validation,
            images_per_s=self.images / max(self.train_seconds, 1e-9),
            history=self.history,
            stage="learning" if validating is None else "validation",
            stage_fraction=validating or 0.0,
            bill=bill,
            # Before the first validation nobody knows what one takes.
            seconds_left=self.seconds * (1 - fraction) / fraction if self.history and fraction else None,
        )

    def _loss(self) -> float:
        """The mean training loss since the last validation, or before it; NaN before the first step."""
        if self.loss_count:
            return self.loss_sum / self.loss_count
        return self.history[-1]["loss"] if self.history else float("nan")


class TrainStateSaver:
    """Keeps a run's state in its checkpoint.

    Args:
        model: the model that is learned.
        learner: the learner that improves it.
        resume_key: what the run's result depends on, by the names that a message uses.
        path: the checkpoint's file; None saves nothing.
        interval: how often the state is saved.
    """

    def __init__(
        self,
        model: Reprogrammed,
        learner: Learner,
        resume_key: dict[str, Any],
        path: str | Path | None,
        interval: Interval,
    ) -> None:
        self.model, self.learner, self.resume_key, self.interval = model, learner, resume_key, interval
        self.checkpoint = Checkpoint(user_path(path, "checkpoint")) if path is not None else None
        self.saved_step, self.saved = 0, time.monotonic()

    def is_time(self, step: int) -> bool:
        """Whether the interval has passed since the last save.

        Args:
            step: the number of steps done.
        """
        return self.interval.is_over(step - self.saved_step, time.monotonic() - self.saved)

    def save(self, state: TrainState, best: dict[str, Tensor]) -> None:
        """Write everything that decides the next step.

        Args:
            state: all but the tensors.
            best: the learned state of the best program, by name.

        Raises:
            DataError: the checkpoint can't be written; the former one is unchanged.
        """
        if self.checkpoint is None:
            return
        tensors = {f"now/{k}": v for k, v in self.model.learned_state().items()}
        tensors |= {f"best/{k}": v for k, v in best.items()}
        tensors |= {f"learner/{k}": v for k, v in self.learner.state_dict().items()}
        if self.model.label_map.statistics is not None:
            tensors["heard/said"] = self.model.label_map.statistics
        tensors["random/cpu"] = torch.get_rng_state()
        if self.model.canvas.frame.is_cuda:
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.model.canvas.frame.device)
        record = {"state": dataclasses.asdict(state), "meter": self._counts(), "made_from": self.resume_key}
        self.checkpoint.save(tensors, record)
        self.saved_step, self.saved = state.step, time.monotonic()

    def load(self) -> tuple[TrainState, dict[str, Tensor], dict[str, dict[str, Tensor]]] | None:
        """Read the checkpoint; the host's meter goes on from the saved counts.

        Returns:
            All but the tensors, the learned state of the best program, and the groups of tensors that `restore` takes;
            None where nothing was saved.

        Raises:
            ConfigError: the checkpoint belongs to another run.
            DataError: the checkpoint is damaged.
        """
        checkpoint = self.checkpoint.load() if self.checkpoint is not None else None
        if checkpoint is None or self.checkpoint is None:
            return None
        tensors, record = checkpoint
        for name in {**self.resume_key, **record["made_from"]}:
            if name == MAP_FILES and name not in record["made_from"]:
                continue  # Earlier versions didn't note it.
            if record["made_from"].get(name) != self.resume_key.get(name):
                raise ConfigError(
                    f"{self.checkpoint.path}: is of a run with another {name}; give the same to go on, or start "
                    "elsewhere"
                )
        groups: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "learner": {}, "heard": {}, "random": {}}
        for key, value in tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = value
        state = TrainState(**{"validation_images": 0, **record["state"]})
        self._go_on(record["meter"], state)
        self.saved_step = state.step
        return state, groups.pop("best"), groups

    def num_microbatches(self) -> int:
        """The number of microbatches that the saved run goes on with; 0 where nothing was saved, or it isn't said."""
        saved = self.checkpoint.load() if self.checkpoint is not None else None
        return int(saved[1]["state"].get("num_microbatches", 0)) if saved is not None else 0

    def _counts(self) -> dict[str, int]:
        """The meter's counts, and how far the run has come in its store of answers."""
        meter, store = self.model.host.meter, self.model.host.answers
        counts = {name: getattr(meter, name) for name in COUNTS}
        return counts if store is None else counts | {name: getattr(store, name) for name in PLACE}

    def _go_on(self, counts: dict[str, int], state: TrainState) -> None:
        """Let meter and store go on from saved counts; those of earlier versions are fewer."""
        meter, store = self.model.host.meter, self.model.host.answers
        counts = {"requests": counts["calls"], **counts}
        place = {name: counts.get(name) for name in PLACE}
        saved = {name: counts.get(name, 0) for name in COUNTS}
        if store is None:
            for name, value in saved.items():
                setattr(meter, name, getattr(meter, name) + value)
            return
        # The store is the truth, but for what it doesn't know: of an earlier version, or where its file is gone.
        store.add({name: max(value - getattr(meter, name), 0) for name, value in saved.items()})
        if None in place.values():
            place = {"mark": 0, "used": state.queries, "used_requests": state.requests, "free": 0}
        store.go_on(**{name: int(value or 0) for name, value in place.items()})

    def restore(self, groups: dict[str, dict[str, Tensor]]) -> None:
        """Bring model, learner and torch's random numbers to the saved state.

        Args:
            groups: tensors by name in each of the groups that `load` returned: now, learner, heard and random.

        Raises:
            ConfigError: an earlier version counted otherwise what the label map is fitted to.
        """
        self.model.load_learned_state(groups["now"])
        self.learner.load_state_dict(groups["learner"])
        self.model.label_map.statistics = self._counted(groups["heard"].get("said"))
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"] and self.model.canvas.frame.is_cuda:
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.model.canvas.frame.device)

    def _counted(self, said: Tensor | None) -> Tensor | None:
        """Saved statistics of the label map, or None."""
        label_map = self.model.label_map
        if said is not None and said.shape != label_map.empty_statistics().shape and self.checkpoint is not None:
            raise ConfigError(
                f"{self.checkpoint.path}: an earlier version counted otherwise what label map {label_map.name()} is "
                "fitted to; start elsewhere"
            )
        return said
