"""The progress of a run, and its result."""

from collections.abc import Sequence
from dataclasses import dataclass

from reprogram.evaluation.metrics import Evaluation


@dataclass(frozen=True, kw_only=True)
class FitProgress:
    """The state of a run after a step, for people and programs that watch it.

    Attributes:
        fraction: the part of the budget that is spent, 0 to 1.
        images: training images seen, repeats counted.
        seconds: seconds of learning so far, validation included.
        loss: the mean loss of the batches since the last validation, in nats.
        validation: the latest validation; None before the first.
        images_per_s: training images a second since the start.
        history: a row for each validation so far.
    """

    fraction: float
    images: int
    seconds: float
    loss: float
    validation: Evaluation | None
    images_per_s: float
    history: Sequence[dict[str, float]] = ()


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a run; the model holds the selected program.

    Attributes:
        images_seen: training images that the program learned from, repeats counted.
        seconds: seconds of learning, validation included.
        validation: the selected program's evaluation on the validation split.
        best_step: the step at which that program was selected.
        history: a row for each validation.
        precision: the type that the host computed in: "float32", "bfloat16", "float16", or that of its weights.
    """

    images_seen: int
    seconds: float
    validation: Evaluation
    best_step: int
    history: list[dict[str, float]]
    precision: str = "float32"
