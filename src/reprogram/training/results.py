"""The progress of a run, and its result."""

from collections.abc import Sequence
from dataclasses import dataclass

from reprogram.evaluation.metrics import Evaluation
from reprogram.utils.text import html_table


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

    def __repr__(self) -> str:
        validation = self.validation or "not measured yet"
        return (
            f"FitProgress: validation accuracy {validation}; {100 * self.fraction:.0f} % of the budget, "
            f"{self.images:,} images in {self.seconds:.1f} s, loss {self.loss:.4f}"
        )


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

    def _facts(self) -> dict[str, str]:
        """What people want to know of a result, by what it is; the accuracy first."""
        images = f"{self.images_seen:,} in {self.seconds:.1f} s, in {self.precision}"
        program = f"of step {self.best_step}, of {len(self.history)} validations"
        if not self.images_seen or not self.best_step:
            program = "nothing was learned: it holds its start values"
        return {"validation accuracy": str(self.validation), "training images": images, "program": program}

    def __repr__(self) -> str:
        return "FitResult: " + "; ".join(f"{name} {value}" for name, value in self._facts().items())

    def _repr_html_(self) -> str:
        return html_table(self._facts())
