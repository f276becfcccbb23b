"""How a run learns, and what it may spend. Doesn't import torch: a configuration is read before that."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from reprogram.errors import BudgetError, ConfigError
from reprogram.registry import format_spec

if TYPE_CHECKING:
    from reprogram.augmentations.base import Augmentation
    from reprogram.learners.base import Learner
    from reprogram.model import Reprogrammed
    from reprogram.tasks.base import Task

Access = Literal["gradient", "scores", "top-k", "label"]
"""What a host gives away, the most first."""
EngineName = Literal["shared", "dense"]
LossKind = Literal["task", "smoothed", "host"]
RANK: tuple[Access, ...] = ("label", "top-k", "scores", "gradient")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may spend; whichever is spent first ends it.

    A run that only counts epochs or images is a function of its seed. One that counts seconds depends on the machine's
    speed.

    Attributes:
        epochs: passes over the training images; parts count. None: no limit.
        images: training images seen, repeats counted; rounded to whole batches. None: no limit.
        seconds: of learning, validation included. None: no limit.
    """

    epochs: float | None = None
    images: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "images", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise BudgetError(f"{name}={value}; a positive number is expected")
        if self.epochs is None and self.images is None and self.seconds is None:
            raise BudgetError("no budget; give epochs, images or seconds")

    def steps(self, batch_size: int, steps_per_epoch: int) -> int | None:
        """How many steps the epochs and images allow; None where only the time is limited.

        Raises:
            BudgetError: less than half a step.
        """
        allowed = []
        if self.epochs is not None:
            allowed.append(round(self.epochs * steps_per_epoch))
        if self.images is not None:
            allowed.append(round(self.images / batch_size))
        if 0 in allowed:
            given = f"epochs={self.epochs}" if self.images is None else f"images={self.images}"
            raise BudgetError(f"{given} is less than half a step; give more")
        return min(allowed, default=None)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run learns; `fit` says what each is."""

    learner: "Learner"
    augmentation: "Augmentation"
    loss: LossKind
    budget: Budget
    batch_size: int
    parts: int | None
    validations: int
    seed: int

    def check(self, model: "Reprogrammed", task: "Task") -> None:
        """Refuse what doesn't fit.

        Raises:
            ConfigError: the host gives less than the learner needs, or model and task differ, or a number is too small.
        """
        if model.task.classes != task.class_names or model.task.shape != task.image_shape:
            raise ConfigError(
                f"the model was built for {model.task.name} ({len(model.task.classes)} classes), not for {task.name}; "
                "build it for this task"
            )
        if self.loss not in get_args(LossKind):
            raise ConfigError(f"no loss {self.loss!r}; known: {', '.join(get_args(LossKind))}")
        have = model.host.info.access
        if RANK.index(have) < RANK.index(self.learner.access):
            raise ConfigError(
                f"learner {self.learner.name()} needs {self.learner.access} access, host {model.host.info.id} gives "
                f"{have} only; choose a learner that needs less, or wrap the host with access='gradient' if it is "
                "differentiable"
            )
        if self.batch_size < 1 or self.validations < 1:
            raise ConfigError("batch_size and validations are at least 1")
        if self.loss == "host" and any(p.requires_grad for p in model.label_map.parameters()):
            raise ConfigError(
                f"loss 'host' has no lower bound with the learned label map {model.label_map.name()}: its scores could "
                "grow for ever; use the loss 'task', or a label map such as 'first'"
            )
        if self.parts is not None and not 1 <= self.parts <= self.batch_size:
            raise ConfigError(f"parts={self.parts}; 1 to {self.batch_size} are expected, the images of a batch")
        if not model.learned_parameters():
            raise ConfigError("neither program nor label map has anything to learn")


def made_from(model: "Reprogrammed", settings: Settings) -> dict[str, Any]:
    """What a checkpoint belongs to: a run goes on with the same of everything that decides it."""
    later = {"augmentation": format_spec(settings.augmentation)}
    return {
        "host": model.host.fingerprint,
        "task": model.task.fingerprint,
        "canvas": format_spec(model.canvas),
        "program": format_spec(model.program),
        "label map": format_spec(model.label_map),
        "learner": format_spec(settings.learner),
        "loss": settings.loss,
        "seed": settings.seed,
        "batch size": settings.batch_size,
        "epochs": settings.budget.epochs,
        "images": settings.budget.images,
        "seconds": settings.budget.seconds,
        "validations": settings.validations,
        **{part: spec for part, spec in later.items() if spec != "none"},
    }
