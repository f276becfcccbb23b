"""Whether a model, a task, a learner and options fit each other, before anything is learned."""

from reprogram.errors import ConfigError
from reprogram.learners.base import Learner
from reprogram.losses.base import Loss
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Task
from reprogram.training.options import FitOptions
from reprogram.types import RANK, Access


def settled_learner(spec: str, access: Access, model: Reprogrammed) -> str:
    """The spec of the learner that a run takes: "none" where no step has anything to improve, else its own.

    Args:
        spec: of the run's learner.
        access: to the host, which that learner needs.
        model: the model to be learned.

    Returns:
        "none" where the program has nothing to learn, and the label map is fitted to answers and has no numbers that
        this learner could learn on this host.
    """
    can_learn = RANK.index(model.host.info.access) >= RANK.index(access)
    learned = can_learn and any(p.requires_grad for p in model.label_map.parameters())
    return "none" if _is_fitted_map_alone(model) and not learned else spec


def _is_fitted_map_alone(model: Reprogrammed) -> bool:
    """Whether the program has nothing to learn, and the label map is fitted to answers."""
    return model.label_map.fit_decides and not any(p.requires_grad for p in model.program.parameters())


def check_fit(options: FitOptions, learner: Learner, loss: Loss, model: Reprogrammed, task: Task) -> None:
    """Refuse a model, a task and options that don't fit each other.

    Args:
        options: the run's options.
        learner: the learner that was built from the options, or given.
        loss: what is minimised.
        model: the model to be learned.
        task: the task to learn from.

    Raises:
        ConfigError: the model was built for another task, the host gives less than the learner needs, the loss has no
            gradient for the learner, or no lower bound or no meaning with this label map, or nothing can be learned.
    """
    if (difference := model.task.difference(task)) is not None:
        raise ConfigError(
            f"the model was built for {model.task.name}, not for {task.name}, which has {difference}; build it for "
            "this task"
        )
    if learner.takes_steps and not model.learned_parameters():
        raise ConfigError(
            f"neither the program {model.program.name()!r} nor the label map {model.label_map.name()!r} has anything "
            "to learn; take a label map that is fitted, such as 'frequency', or another program"
        )
    access = model.host.info.access
    if RANK.index(access) < RANK.index(learner.access):
        raise ConfigError(
            f"learner {learner.name()} needs {learner.access} access, host {model.host.info.id} gives "
            f"{access} only; take a learner that only asks, such as 'snes', or, if the host is differentiable, wrap it "
            "with access='gradient'"
        )
    if not learner.takes_steps and not _is_fitted_map_alone(model):
        raise ConfigError(
            f"learner {learner.name()} improves nothing; it is for the program 'none' and a label map that is fitted"
        )
    if learner.access == "gradient" and not loss.differentiable:
        raise ConfigError(
            f"loss {loss.name()!r} has no gradient for learner {learner.name()} to follow; use the loss 'task', or a "
            "learner that only asks, such as 'snes'"
        )
    if not loss.bounded and any(p.requires_grad for p in model.label_map.parameters()):
        raise ConfigError(
            f"loss {loss.name()!r} has no lower bound with the learned label map {model.label_map.name()}: its scores "
            "could grow for ever; use the loss 'task', or a label map such as 'first'"
        )
    if loss.needs_own_labels and not model.label_map.has_own_labels and model.label_map.single_labels() is None:
        raise ConfigError(
            f"loss {loss.name()!r} asks for the host's probability of a class, and the label map "
            f"{model.label_map.name()} gives no class host labels of its own; use the loss 'task', or the map 'first'"
        )
