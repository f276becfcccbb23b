"""The cells of an audit as results: read from the run folders, each held against what needs no program."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogram.auditing.intervals import gain_interval
from reprogram.auditing.plan import TERMS, PlannedCell
from reprogram.auditing.report import CellResult
from reprogram.errors import DataError
from reprogram.evaluation.metrics import wilson_interval
from reprogram.evaluation.simple_features import simple_features
from reprogram.runs.folder import RunFolder
from reprogram.runs.record import read_history
from reprogram.sweep.cells import Outcome
from reprogram.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a cell's program, and the terms that it is held against, classified rightly.

    Attributes:
        images: n image numbers, of the task's test split.
        program: n, 1 where the program is right, else 0.
        terms: n of the same for each term but chance.
        chance: the accuracy of guessing.
    """

    images: NDArray[np.int64]
    program: NDArray[np.float64]
    terms: Mapping[str, NDArray[np.float64]]
    chance: float

    def accuracy_of(self, term: str) -> float:
        """The accuracy of a term.

        Args:
            term: its name.
        """
        return self.chance if term == "chance" else float(self.terms[term].mean())

    def minus(self, term: str) -> NDArray[np.float64]:
        """The program's answers minus a term's, of each image.

        Args:
            term: its name.
        """
        return self.program - (self.chance if term == "chance" else self.terms[term])


def read_cell(
    planned: PlannedCell, outcomes: Mapping[str, Outcome], out: Path, task: Task
) -> tuple[CellResult, Answers | None]:
    """The result of a cell from its run folder and those of the terms that it shares.

    Args:
        planned: the cell.
        outcomes: of all cells, by name.
        out: the folder of the audit, to which paths are relative.
        task: the cell's, whole.

    Returns:
        The result, and what was classified rightly; None where the cell, or the cell of one of its terms, failed.
    """
    folder = planned.cell.config.folder
    failed = {name: outcomes[name] for name in (planned.cell.name, *planned.terms_from.values())}
    for name, outcome in failed.items():
        if outcome.state == "failed":
            where = "" if name == planned.cell.name else f"its terms are measured in {name}, which failed: "
            return _result(planned, out, state="failed", error=f"{where}{outcome.error}"), None
    try:
        result, answers = RunFolder(folder).read_result(), _answers(planned, outcomes, task)
    except (DataError, OSError, KeyError, ValueError, IndexError) as error:
        reason = str(error) if isinstance(error, DataError) else f"{folder}: its files are damaged; remove the folder"
        return _result(planned, out, state="failed", error=reason), None
    terms = {term: answers.accuracy_of(term) for term in TERMS}
    over = max(terms, key=lambda term: terms[term])
    difference = answers.minus(over)
    n, right = len(answers.images), int(answers.program.sum())
    chance = answers.chance if over == "chance" else None
    return (
        _result(
            planned,
            out,
            accuracy=right / n,
            n=n,
            interval=wilson_interval(right, n),
            validation=result["validation"]["accuracy"],
            terms=terms,
            over=over,
            gain=float(difference.mean()),
            gain_interval=gain_interval([(answers.images, difference)], chance),
            queries=result["queries"],
            images=result["host_images"],
            lost=result.get("bill", {}).get("lost", 0),
            steps=_num_steps(RunFolder(folder)),
            seconds=result["seconds"],
            program=_relative(RunFolder(folder).program, out),
            must_show=result.get("host_shows", {}).get("needed"),
            top_label=result.get("host_shows", {}).get("top_label", {}).get("accuracy"),
        ),
        answers,
    )


def _num_steps(folder: RunFolder) -> int | None:
    """The steps that a finished run made; None where its history doesn't say."""
    steps = [int(row["step"]) for row in read_history(folder.history) if "step" in row]
    return max(steps, default=None)


def _result(planned: PlannedCell, out: Path, **values: Any) -> CellResult:
    """The result of a cell; what isn't given is that of a cell without one."""
    empty: dict[str, Any] = {
        "state": "finished", "error": "", "accuracy": None, "n": 0, "interval": None, "validation": None, "terms": {},
        "over": "", "gain": None, "gain_interval": None, "queries": 0, "images": 0, "lost": 0, "seconds": 0.0,
        "program": "",
    }  # fmt: skip
    folder = planned.cell.config.folder
    place = {name: getattr(planned, name) for name in ("rung", "task", "budget", "seed", "terms_from")}
    return CellResult(
        name=planned.cell.name,
        folder=_relative(folder, out) if folder.exists() else "",
        **place,
        **{**empty, **values},
    )


def _relative(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)


def _answers(planned: PlannedCell, outcomes: Mapping[str, Outcome], task: Task) -> Answers:
    """Read the predictions of a cell, and of the cells that measured its terms on the same images.

    What simple features tell asks no host and takes milliseconds: it is computed here.
    """
    own = _columns(planned.cell.config.folder)
    labels, images = own["label"], own.get("image", np.arange(len(own["label"])))
    right = {}
    for term, name in planned.terms_from.items():
        theirs = _columns(outcomes[name].cell.config.folder)
        if not np.array_equal(theirs["label"], labels) or not np.array_equal(theirs.get("image", images), images):
            raise ValueError("other test images")
        right[term] = (theirs[term] == labels).astype(np.float64)
    result = RunFolder(planned.cell.config.folder).read_result()
    if not np.isclose((own["program"] == labels).mean(), result["test"]["accuracy"], rtol=0, atol=1e-9):
        raise ValueError("other predictions than those of the result")
    config = planned.cell.config
    few = task if config.shots is None else task.few(config.shots, seed=config.seed)
    few = few.with_test_sample(config.test_images, seed=config.seed)
    if not np.array_equal(few.test.labels.cpu().numpy(), labels):
        raise ValueError("other test images")
    right["simple_features"] = (simple_features(few) == labels).astype(np.float64)
    majority = task.class_names.index(result["baselines"]["majority"]["class"])
    right["majority"] = (labels == majority).astype(np.float64)
    return Answers(
        images=images,
        program=(own["program"] == labels).astype(np.float64),
        terms=right,
        chance=float(result["baselines"]["chance"]["accuracy"]),
    )


def _columns(folder: Path) -> dict[str, NDArray[np.int64]]:
    with RunFolder(folder).predictions.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    values = np.array(rows, dtype=np.int64)
    return {name: values[:, column] for column, name in enumerate(names)}
