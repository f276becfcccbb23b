"""The progress of a run, and its result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reprogram.evaluation.metrics import Evaluation
from reprogram.utils.text import duration, html_table, sparkline


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
        stage: what goes on: "learning", "validation", and in a whole run then "the test" and "the baseline NAME".
        stage_fraction: the part of a validation, the test or a baseline that is done, 0 to 1.
        bill: what the host has answered and what that costs, in words, where it only answers; else empty.
        seconds_left: seconds that are left, of a whole run with its test and baselines; None where that isn't known.
    """

    fraction: float
    images: int
    seconds: float
    loss: float
    validation: Evaluation | None
    images_per_s: float
    history: Sequence[dict[str, float]] = ()
    stage: str = "learning"
    stage_fraction: float = 0.0
    seconds_left: float | None = None
    bill: str = ""

    def __str__(self) -> str:
        """Loss, validation accuracy, speed and time left; of a later part of a run, how far it is."""
        left = "" if self.seconds_left is None else f"  about {duration(self.seconds_left)} left"
        left = f"  {self.bill}{left}" if self.bill else left
        if self.stage not in ("learning", "validation"):
            return f"{self.stage} {100 * self.stage_fraction:.0f} %{left}"
        accuracy = f"{self.validation.accuracy:.3f}" if self.validation else "–"
        loss = "–" if math.isnan(self.loss) else f"{self.loss:.3f}"
        now = f"  validating {100 * self.stage_fraction:.0f} %" if self.stage == "validation" else ""
        return f"loss {loss}  validation {accuracy}  {self.images_per_s:.0f} images/s  {self.images} images{now}{left}"

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
        validation: the selected program's evaluation on the validation split. Where queries are limited, on images
            that decided between the last program and the best so far and that no validation had looked at, if any.
        best_step: the step at which that program was selected.
        history: a row for each validation.
        precision: the type that the host computed in: "float32", "bfloat16", "float16", or that of its weights.
        queries: images that the host was asked for while the program was learned, those of validations included.
        ended_early: why learning ended before its budget was spent as planned; empty where it didn't.
    """

    images_seen: int
    seconds: float
    validation: Evaluation
    best_step: int
    history: list[dict[str, float]]
    precision: str = "float32"
    queries: int = 0
    ended_early: str = ""

    def _facts(self) -> dict[str, str]:
        """What people want to know of a result, by what it is; the accuracy first."""
        images = f"{self.images_seen:,} in {self.seconds:.1f} s, in {self.precision}"
        program = f"of step {self.best_step}, of {len(self.history)} validations"
        if not self.images_seen or not self.best_step:
            program = "nothing was learned: it holds its start values"
        facts = {"validation accuracy": str(self.validation), "training images": images, "program": program}
        return facts | ({"ended early": self.ended_early} if self.ended_early else {})

    def __repr__(self) -> str:
        return "FitResult: " + "; ".join(f"{name} {value}" for name, value in self._facts().items())

    def _repr_html_(self) -> str:
        curve = sparkline([row["validation_accuracy"] for row in self.history if "validation_accuracy" in row])
        return html_table(self._facts()) + (f"<p>{curve} validation accuracy</p>" if curve else "")
