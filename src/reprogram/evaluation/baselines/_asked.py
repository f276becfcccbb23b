"""The host's answers to images without a program, as an attacker who needs none would ask for them."""

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float, Int
from torch import Tensor

from reprogram.evaluation.baselines.base import Asks, BaselineInput
from reprogram.evaluation.predict import predict
from reprogram.labelmaps._calibration import calibration_images
from reprogram.model import Reprogrammed

TRAIN_IMAGES = 2_000
"""The most training images that are asked without a budget of queries: each costs a host call."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Answers, on the CPU.

    Attributes:
        train: n × K host scores of training images.
        labels: n, their classes.
        images: n × c × h × w, uint8, these images.
        test: m × K host scores of all test images, or of none.
    """

    train: Float[Tensor, "n K"]
    labels: Int[Tensor, " n"]
    images: Tensor
    test: Float[Tensor, "m K"]


def num_asked(run: BaselineInput, otherwise: int = TRAIN_IMAGES) -> int:
    """How many training images are asked: as many as the run's budget of queries allows, each once.

    Args:
        run: the run.
        otherwise: the number without such a budget.
    """
    return min(otherwise if run.queries is None else run.queries, len(run.task.train))


def asks(run: BaselineInput) -> Asks:
    """What `ask` asks of the host.

    Args:
        run: the run.
    """
    model = bare(run)
    return Asks(images=num_asked(run) + len(run.task.test), ask=model.host_scores)


def ask(run: BaselineInput, *, test: bool = True) -> Asked:
    """Ask the run's host about training and test images, each over half of the input.

    Args:
        run: the run.
        test: whether the test images are asked too.

    Returns:
        The answers to `num_asked` training images, drawn at random by the run's seed, and to all test images.
    """
    model, device = bare(run), run.model.canvas.frame.device
    train = calibration_images(run.task.train, run.seed, num_asked(run))
    answers = partial(predict, lambda images: model.host_scores(images.to(device)))
    scores = answers(train)
    test_scores = answers(run.task.test) if test else scores[:0]
    return Asked(train=scores, labels=train.labels.cpu(), images=train.images, test=test_scores)


def bare(run: BaselineInput, label_map: str = "discriminant") -> Reprogrammed:
    """The run's host with the task image over half of its input and no program.

    Args:
        run: the run.
        label_map: the spec of the label map.
    """
    return Reprogrammed.build(
        run.model.host, run.task, canvas="scaled", program="none", label_map=label_map, seed=run.seed
    )
