"""A page for people: self-contained, pictures first, readable without knowing the method."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogram.auditing.file import to_json
from reprogram.auditing.flags import KINDS
from reprogram.auditing.formats._pictures import gain_curve, strongest
from reprogram.auditing.formats._words import (
    MEASURE,
    NO_TECHNIQUE,
    RUNG_WORDS,
    TERMS,
    at_run_time,
    most_asked,
    signed,
    where_from,
)
from reprogram.auditing.formats.base import Format
from reprogram.auditing.report import AuditReport, Estimate
from reprogram.auditing.verdict import SMALLEST_GAIN
from reprogram.utils.text import printable_all


class HTML(Format):
    """One file without scripts: curves, the strongest program, answers before and after, and every number."""

    file = "report.html"

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as a page; see `Format.render`."""
        from jinja2 import Environment, PackageLoader

        environment = Environment(loader=PackageLoader("reprogram.auditing.formats", "."), autoescape=True)
        values = printable_all(to_json(report))
        return environment.get_template("_page.html.j2").render(
            r=values,
            curves=[(task.name, gain_curve(report, task.name), _alt(report, task.name)) for task in report.grid.tasks],
            program=strongest(report, folder),
            rows=[_row(report, estimate) for estimate in report.estimates],
            matrix=_matrix(report),
            run_time=[line for estimate in most_asked(report.estimates) if (line := at_run_time(estimate))],
            flags=[_flag(flag) for flag in values["flags"]],
            terms=TERMS,
            rungs=RUNG_WORDS,
            measure=MEASURE,
            no_technique=NO_TECHNIQUE,
            made=where_from(report),
            title=_title(report),
            signed=signed,
            json_text=json.dumps(values, indent=2, ensure_ascii=False),
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table of all estimates.

    Attributes:
        estimate: the estimate.
        sees: its rung in words.
        share: the gain as a part of the white-box gain, as text; empty where there is none.
        mark: "shown", "possible" or "none".
    """

    estimate: Estimate
    sees: str
    share: str
    mark: str


def _row(report: AuditReport, estimate: Estimate) -> Row:
    is_part = estimate.ceiling_share is not None and estimate.gain > 0
    share = f"{100 * (estimate.ceiling_share or 0):.0f} %" if is_part else ""
    return Row(estimate=estimate, sees=RUNG_WORDS[estimate.rung].name, share=share, mark=_mark(estimate))


def _mark(estimate: Estimate) -> str:
    low, high = estimate.interval
    return "shown" if low > SMALLEST_GAIN else "possible" if high > SMALLEST_GAIN else "none"


def _title(report: AuditReport) -> str:
    """The headline: the answer in a few words."""
    if report.verdict.level != "gain-shown" and any(flag.name == "answers-alone-suffice" for flag in report.flags):
        return "does other work by its plain answers: it needs no program"
    words = {
        "gain-shown": "can be made to do other work",
        "gain-possible": "may be made to do other work: this audit can't tell",
        "none-shown": "wasn't made to do other work by these attacks",
        "unknown": "couldn't be audited",
    }
    return words[report.verdict.level]


def _matrix(report: AuditReport) -> list[dict[str, Any]]:
    """A row for each rung: the estimate with the largest budget for each task, or None."""
    last = {(estimate.rung, estimate.task): estimate for estimate in most_asked(report.estimates)}
    return [
        {
            "sees": RUNG_WORDS[attack.rung].sees,
            "cells": [
                (estimate, _mark(estimate)) if (estimate := last.get((attack.rung, task.name))) else None
                for task in report.grid.tasks
            ],
        }
        for attack in report.grid.attacks
    ]


def _flag(flag: dict[str, Any]) -> dict[str, Any]:
    kind = KINDS.get(flag["name"])
    title, meaning = (kind.title, kind.meaning) if kind else (flag["name"], "")
    return flag | {"title": title, "meaning": meaning, "advice": flag["advice"][:1].upper() + flag["advice"][1:]}


def _alt(report: AuditReport, task: str) -> str:
    """The curve in words, for who doesn't see it."""
    parts = []
    for attack in report.grid.attacks:
        points = [
            f"{signed(e.gain)} at {e.budget:,} images"
            for e in report.estimates
            if (e.rung, e.task) == (attack.rung, task)
        ]
        if points:
            parts.append(f"{RUNG_WORDS[attack.rung].name}: {', '.join(points)}")
    return f"Net gain of {task} against the images asked. " + "; ".join(parts)
