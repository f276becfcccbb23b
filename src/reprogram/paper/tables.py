"""Helpers for the tables of the report: groups of finished runs, and accuracies as text."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reprogram.evaluation.metrics import wilson_interval
from reprogram.evaluation.paired import Paired
from reprogram.paper.experiments.base import Block, Table
from reprogram.paper.store import Row
from reprogram.report.doubts import doubts, guessing
from reprogram.utils.text import difference

AT_CHANCE, BELOW_CHANCE = " (at chance)", " (below chance)"
"""Mark an accuracy whose 95 % interval holds that of guessing, or of always answering the most frequent class, or lies
below it."""

MARKS = {"nothing_learned": " (nothing learned)", "constant_shift": " (a constant shift)"}
"""Mark an accuracy that isn't the program's doing, by the reason's name in `doubts`."""

WORTH = (
    "Worth: the accuracy minus that of the label map alone on the same test images, with Tango's 95 % interval where "
    "the result holds which images each was right about; older ones don't."
)
"""A caption's explanation of what `pooled` adds to an accuracy."""


def distinct(values: Iterable[Any]) -> list[Any]:
    """The different values, in the order of their first appearance.

    Args:
        values: hashable values.
    """
    return list(dict.fromkeys(values))


def by_host_and_task(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Groups of finished runs, in the order of their first appearance.

    Args:
        rows: finished runs.

    Yields:
        Host, task, and the runs that have both.
    """
    for host, task in distinct((row.host, row.task) for row in rows):
        yield host, task, [row for row in rows if (row.host, row.task) == (host, task)]


def accuracy(correct: int, n: int, chance: float | None = None, seeds: int = 1) -> str:
    """The text of an accuracy with its 95 % interval, marked where it can't be told from guessing, or is worse.

    Args:
        correct: the number of right answers, over all seeds.
        n: the number of answers, over all seeds.
        chance: the accuracy of guessing, in 0 to 1; None for no mark.
        seeds: the number of seeds.
    """
    low, high = wilson_interval(correct, n)
    return f"{correct / n:.4f} ({low:.4f}–{high:.4f}){_chance_mark(correct, n, chance, seeds)}"


def _chance_mark(correct: int, n: int, chance: float | None, seeds: int = 1) -> str:
    """`AT_CHANCE` where the interval of an accuracy holds `chance`, `BELOW_CHANCE` where it lies below, else nothing.

    Seeds share their test images, so the interval is that of one seed: of `n / seeds` images.
    """
    low, high = wilson_interval(round(correct / seeds), round(n / seeds))
    if chance is None or low > chance:
        return ""
    return AT_CHANCE if chance <= high else BELOW_CHANCE


def chance_of(rows: Sequence[Row]) -> float | None:
    """The accuracy on the runs' task without looking: by chance, or by the most frequent class if that is more.

    Args:
        rows: finished runs.

    Returns:
        The accuracy in 0 to 1; None where the runs differ in it, or don't hold it.
    """
    accuracies = {guessing(row.result) for row in rows}
    return accuracies.pop() if len(accuracies) == 1 else None


def pooled(rows: Sequence[Row]) -> str:
    """The text of one cell of a table: the accuracy over all seeds, with its interval and the number of seeds.

    Args:
        rows: finished runs that differ in their seeds alone; a dash where there are none.
    """
    if not rows:
        return "–"
    correct, n = _counts([row.result["test"] for row in rows])
    text = f"{accuracy(correct, n)}, n={n}"
    if len(rows) > 1:
        text += f", {len(rows)} seeds, sd {statistics.stdev(row.accuracy for row in rows):.4f}"
    value, against = worth(rows), {reason for row in rows for reason in doubts(row.result)}
    text += "".join(mark for reason, mark in MARKS.items() if reason in against)
    return text + _chance_mark(correct, n, chance_of(rows), len(rows)) + (f", worth {value}" if value else "")


def judged(rows: Sequence[Row], judgement: str) -> tuple[list[Row], list[Block]]:
    """Divide runs into those whose programs can be judged, and the others: a program that does nothing shows nothing.

    Args:
        rows: finished runs.
        judgement: a sentence on what isn't said of the others, and why.

    Returns:
        The runs against whose programs nothing speaks; and a table of the others, with their accuracies and the
        reasons, where there are any.
    """
    against = {row.folder.name: doubts(row.result) for row in rows}
    others = [row for row in rows if against[row.folder.name]]
    cells = [
        [row.host, row.task, str(row.seed), pooled([row]), " ".join(against[row.folder.name].values())]
        for row in others
    ]
    head = ["host", "task", "seed", "test accuracy", "what speaks against the program"]
    table = Table(head=head, rows=cells, caption=f"Not judged. {judgement}")
    return [row for row in rows if not against[row.folder.name]], [table] if others else []


def worth(rows: Sequence[Row]) -> str:
    """The text of what programs are worth: their accuracy minus that of the label map alone, on the same test images.

    Args:
        rows: finished runs that differ in their seeds alone.

    Returns:
        The difference over all seeds, with Tango's 95 % interval where the results hold which images each was right
        about; empty where the label map alone wasn't measured.
    """
    alone = [row.result["baselines"].get("map_alone") for row in rows]
    measured = [row.result["program_worth"] for row in rows if "program_worth" in row.result]
    if not rows or None in alone:
        return ""
    if len(measured) < len(rows):  # Older results don't hold which images each was right about.
        return difference(_mean(row.result["test"] for row in rows) - _mean(filter(None, alone)), None)
    counts = {key: sum(one[key] for one in measured) for key in ("both", "only_program", "only_map", "neither")}
    pairs = Paired(**counts)
    return difference(pairs.difference, pairs.interval)


def top_label(rows: Sequence[Row]) -> str:
    """The text of the accuracy by the host's top label alone, with its 95 % interval.

    Args:
        rows: finished runs that differ in their seeds alone; a dash where the label map needs more, or the results are
            older.
    """
    measured = [row.result.get("host_shows", {}).get("top_label") for row in rows]
    return accuracy(*_counts(measured), chance_of(rows), len(rows)) if measured and None not in measured else "–"


def _mean(measured: Iterable[dict[str, Any]]) -> float:
    return statistics.mean(float(one["accuracy"]) for one in measured)


def _counts(measured: Sequence[Any]) -> tuple[int, int]:
    """The number of right answers and of all answers, over several results with `accuracy` and `n`."""
    return round(sum(m["accuracy"] * m["n"] for m in measured)), sum(m["n"] for m in measured)


def baseline(rows: Sequence[Row], name: str) -> str:
    """The text of a baseline's accuracy on the same runs, with its interval where something was learned.

    Args:
        rows: finished runs that differ in their seeds alone.
        name: the baseline's key in `result.json`, such as `map_alone`; a dash where no run has it.
    """
    results = [row.result["baselines"][name] for row in rows if name in row.result["baselines"]]
    if not results:
        return "–"
    if name != "majority" and all("n" in result for result in results):
        return accuracy(*_counts(results), chance_of(rows), len(results))
    return f"{statistics.mean(result['accuracy'] for result in results):.4f}"
