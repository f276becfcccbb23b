"""A section for a model card, as Markdown."""

from pathlib import Path

from reprogram.auditing.formats._words import (
    MEASURE,
    RUNG_WORDS,
    TERMS,
    WHAT,
    at_run_time,
    most_asked,
    signed,
    where_from,
)
from reprogram.auditing.formats.base import Format
from reprogram.auditing.report import AuditReport, Estimate
from reprogram.utils.text import printable

HEADINGS = (
    "who sees",
    "task",
    "images",
    "accuracy",
    "best without a program",
    "net gain (95 % interval)",
    "price",
)


class Markdown(Format):
    """What a model card says about reprogramming: the limits, the verdict, a table, the flags, and how it was made."""

    file = "audit.md"

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as a section; see `Format.render`."""
        rows = most_asked(report.estimates)
        lines = ["## Adversarial reprogramming", ""]
        if report.limits:
            lines += [f"> **{_escaped(report.limits[0])}**", ""]
        lines += [f"**{_escaped(report.verdict.text)}**", "", f"{WHAT} {MEASURE}", ""]
        if rows:
            lines += [f"| {' | '.join(HEADINGS)} |", "|---|---|---:|---:|---|---|---|", *map(_row, rows), ""]
        if run_time := [line for estimate in rows if (line := at_run_time(estimate))]:
            lines += ["What the host must show at run time:", "", *(f"- {_escaped(line)}." for line in run_time), ""]
        if report.flags:
            lines += ["What speaks against taking these numbers as they are:", ""]
            lines += [
                f"- **{_escaped(flag.name)}** ({flag.severity}): {_escaped(flag.text)}. "
                f"{_escaped(flag.advice[:1].upper() + flag.advice[1:])}."
                for flag in report.flags
            ]
            lines.append("")
        if report.limits[1:]:
            lines += [*(f"- {_escaped(limit)}" for limit in report.limits[1:]), ""]
        lines += [f"Made with `{printable(report.command).replace('`', chr(39))}` ({_escaped(where_from(report))})."]
        return "\n".join(lines) + "\n"


def _row(estimate: Estimate) -> str:
    low, high = estimate.interval
    term = f"{TERMS.get(estimate.over, estimate.over)}, {estimate.terms.get(estimate.over, 0):.3f}"
    gain = f"{signed(estimate.gain)} ({signed(low)} to {signed(high)})" + (" or more" if estimate.still_rising else "")
    cells = (
        RUNG_WORDS[estimate.rung].name,
        _escaped(estimate.task),
        f"{estimate.budget:,}",
        f"{estimate.accuracy:.3f}",
        term,
        gain,
        _escaped(estimate.translation.text),
    )
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text in which nothing is markup."""
    text = printable(text).replace("\\", "\\\\")
    for character in "`*_[]<>|#":
        text = text.replace(character, "\\" + character)
    return text
