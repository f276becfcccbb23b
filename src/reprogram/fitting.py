"""The one training loop: deterministic order, selection on the validation split, resumable."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation
from reprogram.checkpoint import LONG_S, Interval
from reprogram.distributed import Group, group
from reprogram.engine import verify
from reprogram.errors import DataError, ProcessLostError
from reprogram.evaluation import Evaluation, predict, score
from reprogram.hearing import first_images, hear
from reprogram.interrupts import held_signals
from reprogram.keeper import Keeper, RunState, own_random_numbers
from reprogram.labelmaps.base import Fitted
from reprogram.learners.base import Learner, Progress
from reprogram.losses import epoch_order, loss_of, losses_of
from reprogram.model import Reprogrammed
from reprogram.parts import mean_loss, usual_number
from reprogram.registry import configure
from reprogram.settings import Budget, LossKind, Settings, made_from
from reprogram.tasks.base import Split, Task

LISTENING: tuple[Fitted, ...] = ("epochs", "steps")
"""Label maps that are told the scores of each step."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run says while it goes on.

    Attributes:
        fraction: of the budget that is spent.
        images: training images seen.
        seconds: of learning so far.
        loss: mean over the batches since the last validation.
        validation: the latest, or None before the first.
        images_per_s: training speed since the start.
        history: a row a validation, so far.
    """

    fraction: float
    images: int
    seconds: float
    loss: float
    validation: Evaluation | None
    images_per_s: float
    history: Sequence[dict[str, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What came of a run; the model holds the selected program.

    Attributes:
        images_seen: by the learner.
        seconds: of learning, validation included.
        validation: of the selected program.
        best_step: when it was selected.
        history: a row a validation.
    """

    images_seen: int
    seconds: float
    validation: Evaluation
    best_step: int
    history: list[dict[str, float]]


def fit(
    model: Reprogrammed,
    task: Task,
    *,
    learner: Learner | str = "gradient",
    loss: LossKind = "task",
    augmentation: Augmentation | str = "none",
    epochs: float | None = None,
    images: int | None = None,
    seconds: float | None = None,
    batch_size: int = 16,
    parts: int | None = None,
    validations: int = 10,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_every: str | int = "30s",
    observe: Callable[[Report], None] | None = None,
) -> Fit:
    """Learn a model's program; the test split isn't looked at.

    Started by torchrun, or with `torch.distributed` set up, the processes learn one program together: each takes its
    part of every batch.

    Args:
        model: its program and label map are learned in place, its host isn't touched.
        task: train and validation splits are used.
        learner: or the spec of one.
        loss: "task" is the cross-entropy of the task scores, "smoothed" the same with softened labels; "host" is the
            paper's (equation 3), whose softmax runs over all the host's labels. `reprogram.losses.losses_of` says more.
        augmentation: how training images vary each time they are seen, or the spec of one.
        epochs: budget in passes over the training images; 5 where no budget is given.
        images: budget in training images seen.
        seconds: budget in seconds.
        batch_size: images a step, of all processes together.
        parts: that a batch is computed in. With the same number, any number of processes comes to the same bits. By
            default parts of up to 16 images, at least two and as many as there are processes; on a GPU as many as
            there are processes.
        validations: how often the validation split is looked at; the best program of these is kept.
        seed: of the order of the images, and of torch's random numbers while the run goes on.
        checkpoint: a file that the run's state is kept in, and taken up from if it is there. With it, SIGINT and
            SIGTERM save the state before they end the run.
        checkpoint_every: how often it is written beside the validations: steps such as 100, or seconds such as "30s".
            The result doesn't depend on it.
        observe: called after every step, in the leading process.

    Returns:
        What came of it.

    Raises:
        ConfigError: the host gives less than the learner needs, or model and task differ, or the checkpoint is of
            another run.
        BudgetError: no or a negative budget.
        DataError: a loss or gradient that isn't finite, before the update that it would have made; the best program
            so far is kept in the model, the last good state in the checkpoint. Or a damaged checkpoint, or one that
            can't be written.
        ExportParityError: the host's shared execution isn't what its own module computes.
        ProcessLostError: another process of the job is gone.
    """
    unlimited = epochs is None and images is None and seconds is None
    budget = Budget(epochs=5.0 if unlimited else epochs, images=images, seconds=seconds)
    with held_signals(checkpoint is not None) as pending, group(model.canvas.frame.device) as together:
        if isinstance(learner, str):
            variant, config = configure("learners", learner)
            learner = cast(Learner, variant(config))
        if isinstance(augmentation, str):
            variant, config = configure("augmentations", augmentation)
            augmentation = cast(Augmentation, variant(config))
        settings = Settings(
            learner=learner,
            loss=loss,
            augmentation=augmentation,
            budget=budget,
            batch_size=batch_size,
            parts=parts,
            validations=validations,
            seed=seed,
        )
        settings.check(model, task)
        keeper = Keeper(model, learner, made_from(model, settings), checkpoint, Interval.parse(checkpoint_every))
        return _Run(model, task, settings, keeper, together, observe).run(pending)


class _Run:
    """One run of `fit`."""

    def __init__(
        self,
        model: Reprogrammed,
        task: Task,
        settings: Settings,
        keeper: Keeper,
        together: Group,
        observe: Callable[[Report], None] | None,
    ) -> None:
        self.model, self.settings, self.keeper, self.group, self.observe = model, settings, keeper, together, observe
        device = model.canvas.frame.device
        self.train, self.validation_split = task.train.to(device), task.validation.to(device)
        model.label_map.different_images = len(self.train)
        self.batch_size = min(settings.batch_size, len(self.train))
        self.num_parts = settings.parts or usual_number(self.batch_size, together.size, device)
        self.steps_per_epoch = -(-len(self.train) // self.batch_size)
        self.last_step = settings.budget.steps(self.batch_size, self.steps_per_epoch)
        self.state = RunState()
        self.best: dict[str, Tensor] = {}
        self.validation: Evaluation | None = None
        self.order: tuple[int, Tensor, Tensor] = (-1, torch.empty(0), torch.empty(0))
        self.signal = 0

    def run(self, pending: list[int]) -> Fit:
        """Learn until the budget is spent or a signal is pending."""
        state, learner = self.state, self.settings.learner
        parameters = self.model.learned_parameters()
        with own_random_numbers(self.settings.seed, self.train.images.device):
            learner.start(parameters)
            self._restore()
            try:
                if state.step == 0:
                    self._check_engine()
                    self._fit_map(pending)
                self._settle(pending)
                while self._fraction() < 1 and not self.signal:
                    begun = time.monotonic()
                    self._step()
                    took = time.monotonic() - begun
                    state.train_seconds += took
                    state.seconds += took
                    self._settle(pending, took)
                    self._tell()
                    self._agree(pending)
            except ProcessLostError:
                self._save()  # The step that couldn't be done changed nothing.
                raise
            if self.signal:
                self._save()
        if self.signal:
            raise KeyboardInterrupt if self.signal == signal.SIGINT else SystemExit(128 + self.signal)
        self.model.load_learned_state(self.best)
        return Fit(
            images_seen=state.images,
            seconds=state.seconds,
            validation=Evaluation(n=len(self.validation_split), correct=state.best_correct, loss=state.best_loss),
            best_step=state.best_step,
            history=state.history,
        )

    def _check_engine(self) -> None:
        """Compare what a shared step computes with the host's own module, on two images."""
        model, images = self.model, self.train.images[:2]
        if model.host.engine == "dense" or not model.host.prepared.shares:
            return
        some = self.settings.loss != "host" and model.label_map.fitted not in LISTENING
        labels = model.label_map.reads() if some else None
        parameters = [p for p in model.program.parameters() if p.requires_grad]
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            with torch.no_grad():  # Nothing in a canvas is learned.
                canvases = model.canvas(images)
            verify.check(model.host, model.program(canvases), parameters, labels)

    def _fit_map(self, pending: list[int]) -> None:
        """Fit a label map to what the host says before the first step, where it is such a map."""
        label_map, begun = self.model.label_map, time.monotonic()
        if label_map.fitted == "never":
            return
        images = first_images(self.train, self.settings.seed, label_map.fit_images)
        label_map.heard = label_map.statistics()
        hear(label_map, self.model.host_scores, images, group=self.group, stop=lambda: bool(pending))
        self._agree(pending)
        if self.signal:
            return
        label_map.refit_to_heard()
        self.state.seconds += time.monotonic() - begun

    def _settle(self, pending: list[int], step_seconds: float = 0.0) -> None:
        """What comes between two steps: signals, validation, saving."""
        self._agree(pending)
        if self.signal:
            return
        if self._validation_due():
            self._save()  # A validation may take long, and a signal ends it.
            self._validate(pending)
            if not self.signal:
                self._save()
        elif step_seconds > LONG_S or self.keeper.is_time(self.state.step):
            self._save()

    def _agree(self, pending: list[int]) -> None:
        """Bring time and signals to what they are in all processes: they decide what comes next."""
        if self.group.size == 1:
            self.signal = pending[0] if pending else 0
            return
        came = [float(number in pending) for number in (signal.SIGINT, signal.SIGTERM)]
        seconds = self.state.seconds if self.group.leads else 0.0
        interrupts, terminations, self.state.seconds = self.group.total(
            torch.tensor([*came, seconds], dtype=torch.float64)
        ).tolist()
        self.signal = signal.SIGINT if interrupts else signal.SIGTERM if terminations else 0

    def _step(self) -> None:
        state = self.state
        epoch, place = divmod(state.step, self.steps_per_epoch)
        label_map = self.model.label_map
        if place == 0 and label_map.fitted == "epochs":
            label_map.refit_to_heard()
        if self.order[0] != epoch:
            order = epoch_order(len(self.train), self.settings.seed, epoch)
            chance = self.settings.augmentation.draw(len(self.train), self.settings.seed, epoch)
            self.order = (epoch, order.to(self.train.labels.device), chance.to(self.train.labels.device))
        chosen = self.order[1][place * self.batch_size : (place + 1) * self.batch_size]
        objective, heard = self._objective(chosen)
        try:
            loss = self.settings.learner.step(objective, Progress(fraction=self._fraction(), epoch=epoch))
        except DataError as error:
            raise self._blamed(error, chosen) from error
        if heard is not None:
            label_map.follow(self.group.total(heard), self.train.labels[chosen])
        state.step += 1
        state.images += len(chosen)
        state.loss_sum += loss
        state.loss_count += 1

    def _batch(self, chosen: Tensor) -> Split:
        """Training images as this epoch sees them."""
        return self.settings.augmentation.batch(self.train, chosen, self.order[2])

    def _objective(self, chosen: Tensor) -> tuple[Callable[[], Tensor], Tensor | None]:
        """The loss of these images; and where their host scores go when it is asked, if the label map wants them."""
        label_map = self.model.label_map
        parameters = self.model.learned_parameters()
        wanted, asked = label_map.fitted in LISTENING, 0
        heard = torch.zeros(len(chosen), label_map.num_host_labels, dtype=parameters[0].dtype) if wanted else None

        def loss_of_part(part: slice) -> Tensor:
            def listen(scores: Tensor) -> None:
                assert heard is not None
                heard[part] = scores.cpu()

            batch = self._batch(chosen[part])
            listens = heard is not None and asked == 1  # A learner may ask more than once.
            return loss_of(self.model, batch.images, batch.labels, self.settings.loss, listen if listens else None)

        def objective() -> Tensor:
            nonlocal asked
            asked += 1
            return mean_loss(loss_of_part, len(chosen), self.num_parts, parameters, self.group)

        return objective, heard

    def _blamed(self, error: DataError, chosen: Tensor) -> DataError:
        """What to say of a step that went wrong; the last good state is saved, the model gets the best."""
        self._save()
        culprits = self._culprits(self.group.share(chosen))
        each = "" if culprits else ", none of which alone has such a loss"
        return self._stopped("training", culprits or chosen.tolist(), f"{each}: {error}")

    def _stopped(self, split: str, places: list[int], why: str) -> DataError:
        """What ends a run at this step, because of these images; the model holds the best program so far."""
        if self.best:
            self.model.load_learned_state(self.best)
        named = f"{str(places[:4])[:-1]}, ...]" if len(places) > 4 else str(places)
        return DataError(f"step {self.state.step}, {split} images {named}{why}", details=tuple(map(str, places)))

    @torch.no_grad()
    def _culprits(self, own: Tensor) -> list[int]:
        """The images of this batch whose own loss isn't finite."""
        batch = self._batch(own)
        losses = losses_of(self.model, batch.images, batch.labels, self.settings.loss) if len(own) else own
        return [place for part in self.group.every(own[~torch.isfinite(losses)].tolist()) for place in part]

    def _fraction(self) -> float:
        budget = self.settings.budget
        spent = self.state.seconds / budget.seconds if budget.seconds is not None else 0.0
        return max(spent, self.state.step / self.last_step if self.last_step is not None else 0.0)

    def _validation_due(self) -> bool:
        fraction = self._fraction()
        if fraction >= 1:
            return self.state.validated_step != self.state.step
        return int(fraction * self.settings.validations) > self.state.validations

    def _validate(self, pending: list[int]) -> None:
        state = self.state
        begun = time.monotonic()
        split = self.validation_split
        own = split.take(self.group.share(torch.arange(len(split), device=split.labels.device)))
        with self.settings.learner.shown():
            part, learned = predict(self.model, own, stop=lambda: bool(pending)), self.model.learned_state()
        self._agree(pending)
        if self.signal:
            return
        scores = self.group.joined(part, len(split))
        try:
            result = self.validation = score(scores, split.labels.cpu())
        except DataError as error:
            culprits = torch.nonzero(~torch.isfinite(scores).all(dim=1))[:, 0].tolist()
            raise self._stopped("validation", culprits, f": {error}") from error
        state.seconds += time.monotonic() - begun
        state.validations = int(self._fraction() * self.settings.validations)
        state.validated_step = state.step
        if (result.correct, -result.loss) > (state.best_correct, -state.best_loss):
            state.best_correct, state.best_loss, state.best_step = result.correct, result.loss, state.step
            self.best = learned
        state.history.append(
            {
                "step": state.step,
                "images": state.images,
                "seconds": round(state.seconds, 3),
                "loss": state.loss_sum / max(state.loss_count, 1),
                "validation_accuracy": result.accuracy,
                "validation_loss": result.loss,
            }
        )
        state.loss_sum, state.loss_count = 0.0, 0

    def _tell(self) -> None:
        if self.observe is None or not self.group.leads:
            return
        state = self.state
        rows = state.history
        self.observe(
            Report(
                fraction=min(self._fraction(), 1.0),
                images=state.images,
                seconds=state.seconds,
                loss=state.loss_sum / state.loss_count if state.loss_count else rows[-1]["loss"],
                validation=self.validation,
                images_per_s=state.images / max(state.train_seconds, 1e-9),
                history=rows,
            )
        )

    def _save(self) -> None:
        if self.group.leads:
            self.keeper.save(self.state, self.best)

    def _restore(self) -> None:
        found = self.group.first(self.keeper.load)
        if found is not None:
            self.state.__dict__.update(found[0].__dict__)
            self.best = found[1]
            self.keeper.take_over(found[2])
