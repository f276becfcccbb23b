"""The one training loop: its order is deterministic, the validation split selects, and it can be resumed."""

import signal
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation
from reprogram.errors import BudgetError, DataError, ProcessLostError, WriteError
from reprogram.evaluation.metrics import Evaluation, score
from reprogram.labelmaps._calibration import calibration_images, collect_statistics
from reprogram.learners.base import Learner, Progress
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Task
from reprogram.training import diagnosis
from reprogram.training.agreement import Agreement
from reprogram.training.batches import Batches
from reprogram.training.budget import images_of
from reprogram.training.checkpoint import LONG_S
from reprogram.training.losses import losses_of
from reprogram.training.microbatch import usual_number
from reprogram.training.objective import BatchObjective
from reprogram.training.options import FitOptions
from reprogram.training.queries import QueryBudget
from reprogram.training.rescoring import better_of
from reprogram.training.results import FitProgress, FitResult
from reprogram.training.state import TrainState, TrainStateSaver
from reprogram.training.validation import Validator, num_validation_images
from reprogram.utils.distributed import ProcessGroup
from reprogram.utils.seeding import seeded


class Trainer:
    """One run of `fit`: steps until the budget is spent or a signal comes.

    Args:
        model: the model; its program and its label map are learned in place.
        task: the task; its train and validation splits are used.
        options: the run's options.
        learner: improves the program.
        augmentation: varies the training images.
        saver: saves and loads the run's state.
        group: the processes that learn together.
        on_progress: called after every step, in the main process.
        on_validation: called after every batch of a validation, in the main process.
    """

    def __init__(
        self,
        model: Reprogrammed,
        task: Task,
        options: FitOptions,
        learner: Learner,
        augmentation: Augmentation,
        *,
        saver: TrainStateSaver,
        group: ProcessGroup,
        on_progress: Callable[[FitProgress], None] | None = None,
        on_validation: Callable[[FitProgress], None] | None = None,
    ) -> None:
        self.model, self.options, self.learner = model, options, learner
        self.saver, self.group, self.on_progress, self.on_validation = saver, group, on_progress, on_validation
        self.train = task.train.to(device := model.canvas.frame.device)
        self.validator = Validator(model, learner, task.validation.to(device), options.seed, group)
        model.label_map.different_images = len(self.train)
        self.batch_size = min(options.settled_batch_size(len(task.class_names)), len(self.train))
        self.batches = Batches(self.train, augmentation, self.batch_size, options.seed, options.sampling)
        self.steps_per_epoch = -(-len(self.train) // self.batch_size)
        self.last_step = options.budget.steps(self.batch_size, len(self.train)) if learner.takes_steps else 0
        self.state = TrainState()
        self.best: dict[str, Tensor] = {}
        self.validation: Evaluation | None = None
        self.confirmed: Evaluation | None = None
        self.signal = 0
        self.ended_early = ""

    def run(self, pending: list[int]) -> FitResult:
        """Learn until the budget is spent or a signal is pending.

        Args:
            pending: the signals that arrived so far, as `held_signals` yields them.

        Returns:
            The result; the model holds the selected program.

        Raises:
            KeyboardInterrupt: SIGINT arrived; the state is saved.
            SystemExit: SIGTERM or SIGHUP arrived; the state is saved.
            BudgetError: the host may be asked for nothing more, and no program was validated yet.
            DataError: a loss or gradient isn't finite, or the state can't be written.
            ProcessLostError: another process is gone; the state is saved.
        """
        with seeded(self.options.seed, self.train.images.device, alone=False):
            self.learner.start(self.model.learned_parameters())
            self._restore()
            self._settle()
            self.queries = QueryBudget.of_run(self.model, self.learner, self.validator, self.options, len(self.train))
            try:
                with self.queries.limiting(self.state):
                    if self.state.step == 0:
                        diagnosis.check_engine(self.model, self.train.images[:2], self.options.loss)
                        self._fit_map(pending)
                    self._loop(pending)
                    self.ended_early = self.queries.cut_short(self.state.step, self.last_step)
                    self._rescore(pending)
            except BudgetError as error:  # Requests that were lost or sent again left less than was planned.
                if not self.best:
                    raise BudgetError(f"{error}; no program was validated yet") from None
                self.ended_early = f"step {self.state.step}: {error}"
            except ProcessLostError:
                self._save()  # The failed step changed nothing.
                raise
            if self.signal:
                self._save()
                raise KeyboardInterrupt if self.signal == signal.SIGINT else SystemExit(128 + self.signal)
        self.model.load_learned_state(self.best)
        return self._result()

    def _settle(self) -> None:
        """Compute in the type and in the microbatches that the run began with, or else in those that suit the host."""
        host, state = self.model.host, self.state
        if not state.precision:
            few = self.train.take(torch.arange(min(2, len(self.train))))
            diagnosis.settle_precision(self.model, few, self.options.loss)
        state.precision = host.precision = state.precision or diagnosis.precision_of(host)
        usual = usual_number(self.batch_size, self.group.size, self.train.labels.device)
        state.num_microbatches = state.num_microbatches or self.options.num_microbatches or usual
        self.objective = BatchObjective(self.model, self.options, state.num_microbatches, self.group)
        self.agree = Agreement(host.meter, self.group)

    def _loop(self, pending: list[int]) -> None:
        state = self.state
        self._between_steps(pending)
        while self._fraction() < 1 and not self.signal:
            start = time.monotonic()
            self._step()
            step_seconds = time.monotonic() - start
            state.train_seconds += step_seconds
            state.seconds += step_seconds
            self._between_steps(pending, step_seconds)
            self._notify()
            self._sync_signals(pending)

    def _rescore(self, pending: list[int]) -> None:
        """Where queries are limited, let the last program meet the best on images that no validation looked at."""
        if self.signal or not self.queries.fresh or self.state.best_step == self.state.step:
            return
        found = better_of(self.validator, self.best, self.queries.fresh, lambda: self.group.should_stop(pending))
        self._sync_signals(pending)
        if found is not None and not self.signal:
            self.best, self.confirmed, is_last = found
            self.state.best_step = self.state.step if is_last else self.state.best_step

    def _result(self) -> FitResult:
        state = self.state
        return FitResult(
            images_seen=state.images,
            seconds=state.seconds,
            validation=self.confirmed or state.best(len(self.validator.indices)),
            best_step=state.best_step,
            history=state.history,
            queries=self.queries.spent,
            ended_early=self.ended_early,
            precision=str(self.model.host.dtype).removeprefix("torch."),
        )

    def _fit_map(self, pending: list[int]) -> None:
        """Fit the label map to the host's scores before the first step, where it has a refit schedule."""
        model, label_map, group, start = self.model, self.model.label_map, self.group, time.monotonic()
        if label_map.refit_schedule == "never" or self.state.map_fitted:
            return
        images = calibration_images(self.train, self.options.seed, self.queries.num_fit_images)
        label_map.statistics = label_map.empty_statistics()
        collect_statistics(label_map, model.host_scores, images, group=group, stop=partial(group.should_stop, pending))
        self._sync_signals(pending)
        if self.signal:
            return
        label_map.fit_from_statistics()
        self.state.map_fitted = True
        self.state.seconds += time.monotonic() - start

    def _between_steps(self, pending: list[int], step_seconds: float = 0.0) -> None:
        """Look for signals, then validate and save where that is due."""
        self._sync_signals(pending)
        if self.signal:
            return
        if self._validation_due():
            self._save()  # A validation may take long, and a signal ends it without a result.
            self._validate(pending)
            if not self.signal:
                self._save()
        elif step_seconds > LONG_S or self.saver.is_time(self.state.step):
            self._save()

    def _sync_signals(self, pending: list[int]) -> None:
        """Agree with all processes on signals and time, because these decide what comes next."""
        self.signal, self.state.seconds = self.agree(pending, self.state.seconds)

    def _step(self) -> None:
        state, label_map = self.state, self.model.label_map
        epoch, position = divmod(state.step, self.steps_per_epoch)
        if position == 0 and label_map.refit_schedule == "epochs":
            label_map.fit_from_statistics()
        indices = self.batches.indices(epoch, position)
        objective = self.objective.of(lambda rows: self.batches.take(indices[rows]), len(indices))
        try:
            loss = self.learner.step(objective, Progress(fraction=self._fraction(), epoch=epoch))
        except WriteError:  # What the host is asked couldn't be noted; nothing is wrong with the numbers.
            raise
        except DataError as error:
            raise self._diverged(error, indices) from error
        objective.inform(label_map, self.train.labels[indices])
        state.add_step(len(indices), diagnosis.finite(self.learner, loss))

    def _diverged(self, error: DataError, indices: Tensor) -> DataError:
        """The error of a step that isn't finite; the last good state is saved, the model gets the best program."""
        self._save()
        shard = self.group.shard(indices)
        batch, losses = self.batches.take(shard), shard.float()
        if len(shard):
            with torch.no_grad():
                losses = losses_of(self.model, batch.images, batch.labels, self.options.loss)
        samples = diagnosis.non_finite_samples(losses, shard, self.group)
        why = ("" if samples else ", none of which alone has such a loss") + diagnosis.overflowing(self.model.host)
        if self.best:
            self.model.load_learned_state(self.best)
        return diagnosis.stopped(self.state.step, "training", samples or indices.tolist(), f"{why}: {error}")

    def _fraction(self) -> float:
        """The part of the budget that is spent; more than 1 where a step went beyond it."""
        by_time = self.state.seconds / (self.options.budget.seconds or float("inf"))
        by_steps = self.state.step / max(self.last_step, 1) if self.last_step is not None else 0.0
        return 1.0 if self.last_step == 0 else max(by_time, by_steps, self.queries.fraction)

    def _images_of_run(self) -> float:
        """The training images that the whole run learns from; a guess by its first part where time limits it."""
        if self.last_step is not None and self.options.budget.seconds is None:
            return images_of(self.last_step, self.batch_size, len(self.train))
        return self.state.images / self._fraction()

    def _validation_due(self) -> bool:
        fraction = self._fraction()
        if fraction >= 1:
            return self.state.validated_step != self.state.step
        due = int(fraction * self.options.validations) > self.state.validations
        return due and self.queries.allows_validation()

    def _validate(self, pending: list[int]) -> None:
        state, start = self.state, time.monotonic()
        if state.validation_images is None:
            learned, views = self._images_of_run(), self.model.program.num_views
            state.validation_images = num_validation_images(
                self.options, learned=learned, available=len(self.validator.split), views=views
            )
            self.validator.choose(state.validation_images)
        scores, learned_state = self.validator.scores(state.step, lambda: self.group.should_stop(pending), self._notify)
        self._sync_signals(pending)
        if self.signal:
            return
        scores = self.validator.of_all_processes(scores)
        try:
            result = self.validation = score(scores, self.validator.labels)
        except DataError as error:
            non_finite = ~torch.isfinite(scores).all(dim=1)
            samples = self.validator.indices.cpu()[non_finite].tolist()
            if self.best:
                self.model.load_learned_state(self.best)
            raise diagnosis.stopped(state.step, "validation", samples, f": {error}") from error
        state.seconds += time.monotonic() - start
        self._sync_signals(pending)  # Each process took another time, which decides when the next validation is due.
        state.validations = int(self._fraction() * self.options.validations)
        state.validated_step = state.step
        if (result.correct, -result.loss) > (state.best_correct, -state.best_loss):
            state.best_correct, state.best_loss, state.best_step = result.correct, result.loss, state.step
            self.best = learned_state
        state.add_row(result)

    def _notify(self, validating: float | None = None) -> None:
        tell = self.on_progress if validating is None else self.on_validation
        if tell is not None and self.group.is_main:
            done, bill = min(self._fraction(), 1.0), self.queries.bill
            tell(self.state.progress(done, self.validation, validating=validating, bill=bill))

    def _save(self) -> None:
        self.queries.note_in(self.state)
        if self.group.is_main:
            self.saver.save(self.state, self.best)

    def _restore(self) -> None:
        saved = self.group.on_main(self.saver.load)
        if saved is not None:
            self.state.__dict__.update(saved[0].__dict__)
            if self.state.validation_images is not None:
                self.state.validation_images = self.state.validation_images or len(self.validator.split)
                self.validator.choose(self.state.validation_images)
            self.best = saved[1]
            self.saver.restore(saved[2])
