"""Estimates: what the cells of a rung, task and budget say together, with intervals over test images and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from reprogram.auditing.intervals import Rows, accuracy_interval, gain_interval, lower_end
from reprogram.auditing.plan import TERMS, AuditPlan
from reprogram.auditing.report import CellResult, Estimate, Translation
from reprogram.auditing.results import Answers
from reprogram.utils.text import duration

Key = tuple[str, str, int]
"""Rung, task and budget."""


SHOWN = (None, "top_label", "map_labels", "all_scores")
"""What a host must show when a program is used, the least first."""


def estimates_of(
    plan: AuditPlan,
    cells: Sequence[CellResult],
    answers: Mapping[str, Answers],
    *,
    rate: float | None,
    price: float | None,
) -> tuple[Estimate, ...]:
    """The estimates of an audit, in the order of rungs, tasks and budgets.

    Args:
        plan: of the audit.
        cells: the results of its cells.
        answers: what the finished ones classified rightly, by their names.
        rate: images a second of a rate limit; None without one.
        price: of 1,000 images; None without one.
    """
    groups = by_key(cells, answers)
    estimates = []
    for attack in plan.grid.attacks:
        for task in plan.grid.tasks:
            smaller: list[CellResult] = []
            for budget in plan.grid.budgets:
                group = groups.get((attack.rung, task.name, budget), [])
                if group:
                    rising = rises(smaller, group, answers) if smaller else None
                    estimates.append(_estimate(group, answers, rising, rate, price))
                smaller = group
    return tuple(_with_share(estimate, estimates) for estimate in estimates)


def by_key(cells: Sequence[CellResult], answers: Mapping[str, Answers]) -> dict[Key, list[CellResult]]:
    """The finished cells by rung, task and budget.

    Args:
        cells: all cells.
        answers: of the finished ones, by name.
    """
    groups: dict[Key, list[CellResult]] = {}
    for cell in cells:
        if cell.name in answers:
            groups.setdefault((cell.rung, cell.task, cell.budget), []).append(cell)
    return groups


def rises(smaller: Sequence[CellResult], larger: Sequence[CellResult], answers: Mapping[str, Answers]) -> bool:
    """Whether some cells get more than others of the same seeds, by more than chance in images and seeds explains.

    Args:
        smaller: cells of one rung, task and budget.
        larger: cells of the same task, with a larger budget or on another rung.
        answers: by name.
    """
    rows = differences(smaller, larger, answers)
    return bool(rows) and lower_end(rows) > 0


def differences(first: Sequence[CellResult], second: Sequence[CellResult], answers: Mapping[str, Answers]) -> Rows:
    """The answers of some cells minus those of others, paired by seed and image.

    Args:
        first: cells whose answers are subtracted.
        second: cells of the same task.
        answers: by name.

    Returns:
        Image numbers and differences for each seed that they share.
    """
    theirs = {cell.seed: answers[cell.name] for cell in first}
    rows: Rows = []
    for cell in second:
        ours, other = answers[cell.name], theirs.get(cell.seed)
        if other is not None and np.array_equal(ours.images, other.images):
            rows.append((ours.images, ours.program - other.program))
    return rows


def mean_of(rows: Rows) -> float:
    """The mean over seeds and images.

    Args:
        rows: for each seed image numbers and values.
    """
    return float(np.concatenate([values for _, values in rows]).mean())


def _estimate(
    group: Sequence[CellResult],
    answers: Mapping[str, Answers],
    still_rising: bool | None,
    rate: float | None,
    price: float | None,
) -> Estimate:
    own = [answers[cell.name] for cell in group]
    terms = {term: float(np.mean([found.accuracy_of(term) for found in own])) for term in TERMS}
    over = max(terms, key=lambda term: terms[term])
    accuracy = float(np.mean([found.program.mean() for found in own]))
    chance = own[0].chance if over == "chance" else None
    by_label = [cell.top_label for cell in group if cell.top_label is not None]
    images = round(float(np.mean([cell.queries for cell in group])))
    return Estimate(
        rung=group[0].rung,
        task=group[0].task,
        budget=group[0].budget,
        seeds=tuple(cell.seed for cell in group),
        n=len(np.unique(np.concatenate([found.images for found in own]))),
        accuracy=accuracy,
        accuracy_interval=accuracy_interval([(found.images, found.program) for found in own]),
        terms=terms,
        over=over,
        gain=accuracy - terms[over],
        interval=gain_interval([(found.images, found.minus(over)) for found in own], chance),
        ceiling_share=None,
        still_rising=still_rising,
        translation=translated(group[0].task, accuracy, images, rate, price, without=terms[over]),
        cells=tuple(cell.name for cell in group),
        must_show=max((cell.must_show for cell in group), key=SHOWN.index),
        top_label=float(np.mean(by_label)) if len(by_label) == len(group) else None,
    )


def translated(
    task: str, accuracy: float, images: int, rate: float | None, price: float | None, *, without: float = 0.0
) -> Translation:
    """What a number of images costs.

    Args:
        task: the task's short name.
        accuracy: that they bought.
        images: that were asked.
        rate: images a second; None without a rate limit.
        price: of 1,000 images; None without a price.
        without: the accuracy that needs no program.
    """
    seconds = None if rate is None else images / rate
    cost = None if price is None else images * price / 1000
    parts = [f"{images:,} images"]
    parts += [] if seconds is None else [f"{duration(seconds)} at {rate:g} a second"]
    parts += [] if cost is None else [f"{cost:,.2f} at {price:g} a thousand"]
    reached, had = (f"{value:.2f}".removeprefix("0") for value in (accuracy, without))
    text = f"{task} at {reached} costs {', '.join(parts)}"
    text += f"; {had} needs no program" if accuracy <= without else ""
    return Translation(images=images, seconds=seconds, cost=cost, text=text)


def _with_share(estimate: Estimate, estimates: Sequence[Estimate]) -> Estimate:
    """The estimate with its share of the white-box gain with the largest budget, where that shows a gain."""
    white = [other for other in estimates if other.rung == "gradient" and other.task == estimate.task]
    ceiling = max(white, key=lambda other: other.budget, default=None)
    if ceiling is None or ceiling.interval[0] <= 0:
        return estimate
    return replace(estimate, ceiling_share=estimate.gain / ceiling.gain)
