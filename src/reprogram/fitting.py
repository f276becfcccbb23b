"""The one training loop: deterministic order, selection on the validation split, resumable."""

import dataclasses
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.checkpoint import load_state, save_state
from reprogram.engine import verify
from reprogram.errors import BudgetError, ConfigError, DataError
from reprogram.evaluation import Evaluation, evaluate
from reprogram.hosts.base import Access
from reprogram.interrupts import held_signals
from reprogram.learners.base import Learner, Progress
from reprogram.model import Reprogrammed
from reprogram.registry import configure, format_spec
from reprogram.tasks.base import Task

RANK: tuple[Access, ...] = ("label", "top-k", "scores", "gradient")
SAVE_EVERY_S = 30.0
LossKind = Literal["task", "host"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may spend; whichever is spent first ends it.

    A run that only counts epochs is a function of its seed. One that counts seconds depends on the machine's speed.

    Attributes:
        epochs: passes over the training images; parts count. None: no limit.
        seconds: of learning, validation included. None: no limit.
    """

    epochs: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise BudgetError(f"{name}={value}; a positive number is expected")
        if self.epochs is None and self.seconds is None:
            raise BudgetError("no budget; give epochs, seconds or both")


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
    """

    fraction: float
    images: int
    seconds: float
    loss: float
    validation: Evaluation | None
    images_per_s: float


@dataclass(kw_only=True)
class RunState:
    """Everything that decides the next step, but for the tensors."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    validations: int = 0
    best_correct: int = -1
    best_loss: float = float("inf")
    best_step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


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
    epochs: float | None = None,
    seconds: float | None = None,
    batch_size: int = 16,
    validations: int = 10,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    observe: Callable[[Report], None] | None = None,
) -> Fit:
    """Learn a model's program; the test split isn't looked at.

    Args:
        model: its program and label map are learned in place, its host isn't touched.
        task: train and validation splits are used.
        learner: or the spec of one.
        loss: "task" is the cross-entropy of the task scores; "host" is the paper's (equation 3), whose softmax
            runs over all the host's labels. `reprogram.fitting.loss_of` says more.
        epochs: budget in passes over the training images; 5 where no budget is given.
        seconds: budget in seconds.
        batch_size: images a step.
        validations: how often the validation split is looked at; the best program of these is kept.
        seed: of the order of the images.
        checkpoint: a file that the run's state is kept in, and taken up from if it is there. With it, SIGINT and
            SIGTERM save the state before they end the run.
        observe: called after every step.

    Returns:
        What came of it.

    Raises:
        ConfigError: the host gives less than the learner needs, or model and task differ.
        BudgetError: no or a negative budget.
        DataError: a loss that isn't finite; the best program so far is kept in the model.
        ExportParityError: the host's shared execution isn't what its own module computes.
    """
    budget = Budget(epochs=5.0 if epochs is None and seconds is None else epochs, seconds=seconds)
    with held_signals(checkpoint is not None) as pending:
        if isinstance(learner, str):
            variant, config = configure("learners", learner)
            learner = cast(Learner, variant(config))
        run = _Run(model, task, learner, loss, budget, batch_size, validations, seed, checkpoint, observe)
        return run.run(pending)


class _Run:
    """One run of `fit`."""

    def __init__(
        self,
        model: Reprogrammed,
        task: Task,
        learner: Learner,
        loss: LossKind,
        budget: Budget,
        batch_size: int,
        validations: int,
        seed: int,
        checkpoint: str | Path | None,
        observe: Callable[[Report], None] | None,
    ) -> None:
        _check(model, task, learner, loss, batch_size, validations)
        self.model, self.learner, self.loss, self.budget = model, learner, loss, budget
        self.seed, self.validations, self.observe = seed, validations, observe
        self.batch_size = min(batch_size, len(task.train))
        self.checkpoint = Path(checkpoint) if checkpoint is not None else None
        device = model.canvas.frame.device
        self.train, self.validation_split = task.train.to(device), task.validation.to(device)
        self.steps_per_epoch = -(-len(self.train) // self.batch_size)
        self.last_step = round(budget.epochs * self.steps_per_epoch) if budget.epochs is not None else None
        if self.last_step == 0:
            raise BudgetError(f"epochs={budget.epochs} is less than half a step; give more")
        self.made_from = self._made_from() if self.checkpoint is not None else {}
        self.state = RunState()
        self.best: dict[str, Tensor] = {}
        self.validation: Evaluation | None = None
        self.order: tuple[int, Tensor] = (-1, torch.empty(0))

    def run(self, pending: list[int]) -> Fit:
        """Learn until the budget is spent or a signal is pending."""
        self.learner.start(self.model.learned_parameters())
        self._restore()
        state = self.state
        if state.step == 0:
            self._check_engine()
        saved = time.monotonic()
        while self._fraction() < 1 and not pending:
            begun = time.monotonic()
            self._step()
            state.train_seconds += time.monotonic() - begun
            state.seconds += time.monotonic() - begun
            if self._validation_due():
                self._validate()
                self._save()
                saved = time.monotonic()
            elif time.monotonic() - saved > SAVE_EVERY_S:
                self._save()
                saved = time.monotonic()
            self._tell()
        if pending:
            self._save()
            raise KeyboardInterrupt if pending[0] == signal.SIGINT else SystemExit(128 + pending[0])
        if not self.best:
            self._validate()
            self._save()
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
        labels = model.label_map.reads() if self.loss == "task" else None
        parameters = [p for p in model.program.parameters() if p.requires_grad]
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            with torch.no_grad():  # Nothing in a canvas is learned.
                canvases = model.canvas(images)
            verify.check(model.host, model.program(canvases), parameters, labels)

    def _step(self) -> None:
        state = self.state
        epoch, place = divmod(state.step, self.steps_per_epoch)
        if self.order[0] != epoch:
            self.order = (epoch, epoch_order(len(self.train), self.seed, epoch).to(self.train.labels.device))
        chosen = self.order[1][place * self.batch_size : (place + 1) * self.batch_size]
        batch = self.train.take(chosen)
        try:
            loss = self.learner.step(
                lambda: loss_of(self.model, batch.images, batch.labels, self.loss),
                Progress(fraction=self._fraction(), epoch=epoch),
            )
        except DataError as error:
            self._save()
            if self.best:
                self.model.load_learned_state(self.best)
            raise DataError(f"step {state.step}, training images {chosen[:4].tolist()}...: {error}") from error
        state.step += 1
        state.images += len(batch)
        state.loss_sum += loss
        state.loss_count += 1

    def _fraction(self) -> float:
        spent = self.state.seconds / self.budget.seconds if self.budget.seconds is not None else 0.0
        return max(spent, self.state.step / self.last_step if self.last_step is not None else 0.0)

    def _validation_due(self) -> bool:
        fraction = self._fraction()
        return fraction >= 1 or int(fraction * self.validations) > self.state.validations

    def _validate(self) -> None:
        state = self.state
        begun = time.monotonic()
        result = self.validation = evaluate(self.model, self.validation_split)
        state.seconds += time.monotonic() - begun
        state.validations = int(self._fraction() * self.validations)
        if (result.correct, -result.loss) > (state.best_correct, -state.best_loss):
            state.best_correct, state.best_loss, state.best_step = result.correct, result.loss, state.step
            self.best = self.model.learned_state()
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
        if self.observe is None:
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
            )
        )

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"now/{k}": v for k, v in self.model.learned_state().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        tensors |= {f"learner/{k}": v.cpu() for k, v in self.learner.state().items()}
        meter = dataclasses.asdict(self.model.host.meter)
        record = {"state": dataclasses.asdict(self.state), "meter": meter, "made_from": self.made_from}
        save_state(self.checkpoint, tensors, record)

    def _made_from(self) -> dict[str, Any]:
        """What a checkpoint belongs to: a run goes on with the same of everything that decides it."""
        model = self.model
        return {
            "host": model.host.fingerprint,
            "task": model.task.fingerprint,
            "canvas": format_spec(model.canvas),
            "program": format_spec(model.program),
            "label map": format_spec(model.label_map),
            "learner": format_spec(self.learner),
            "loss": self.loss,
            "seed": self.seed,
            "batch size": self.batch_size,
        }

    def _restore(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        tensors, record = load_state(self.checkpoint)
        for part, fingerprint in self.made_from.items():
            if record["made_from"].get(part) != fingerprint:
                raise ConfigError(
                    f"{self.checkpoint}: is of a run with another {part}; give the same to go on, or start elsewhere"
                )
        groups: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "learner": {}}
        for key, value in tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = value
        self.model.load_learned_state(groups["now"])
        self.best = groups["best"]
        self.learner.load_state(groups["learner"])
        self.state = RunState(**record["state"])
        meter = self.model.host.meter
        meter.calls, meter.images = meter.calls + record["meter"]["calls"], meter.images + record["meter"]["images"]


def _check(model: Reprogrammed, task: Task, learner: Learner, loss: str, batch_size: int, validations: int) -> None:
    if model.task.classes != task.class_names or model.task.shape != task.image_shape:
        raise ConfigError(
            f"the model was built for {model.task.name} ({len(model.task.classes)} classes), not for {task.name}; "
            "build it for this task"
        )
    if loss not in get_args(LossKind):
        raise ConfigError(f"no loss {loss!r}; known: {', '.join(get_args(LossKind))}")
    have = model.host.info.access
    if RANK.index(have) < RANK.index(learner.access):
        raise ConfigError(
            f"learner {learner.name()} needs {learner.access} access, host {model.host.info.id} gives {have} only; "
            "choose a learner that needs less, or wrap the host with access='gradient' if it is differentiable"
        )
    if batch_size < 1 or validations < 1:
        raise ConfigError("batch_size and validations are at least 1")
    if not model.learned_parameters():
        raise ConfigError("neither program nor label map has anything to learn")


def loss_of(model: Reprogrammed, images: Tensor, labels: Tensor, kind: LossKind) -> Tensor:
    """The loss of a batch, in nats.

    Args:
        model: what is learned.
        images: b × c × h × w.
        labels: b.
        kind: "host" is the paper's −log P(h_g(y) | X_adv) (equation 3): the softmax runs over all the host's
            labels, so the host itself must come to say "tench". "task" is the cross-entropy of the task scores: the
            softmax runs over the task's labels, the other host labels may say what they like.

    Returns:
        A scalar.
    """
    if kind == "task":
        return F.cross_entropy(model(images), labels)
    host_scores = model.host_scores(images)
    wanted: Tensor = model.label_map(host_scores).gather(1, labels[:, None])[:, 0]
    return (host_scores.logsumexp(dim=1) - wanted).mean()


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of n images in an epoch: a permutation, a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)
