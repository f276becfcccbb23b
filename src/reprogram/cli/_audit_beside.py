"""What `reprogram audit --defence` shows: a host without and with defences, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from reprogram.auditing.beside import FILE, LIMIT, WITH, WITHOUT, Row, side_by_side, write_comparison
from reprogram.auditing.file import to_json
from reprogram.auditing.formats.base import Format
from reprogram.auditing.output import write_format
from reprogram.auditing.report import AuditReport
from reprogram.cli._audit_table import print_wide
from reprogram.cli.console import Common, emit
from reprogram.utils.text import printable

STATES = {"not-shown": "the defence hides this rung", "missing": "cells failed"}
"""What the last column says of rows that compare nothing."""


def show_beside(
    defence: str, reports: Sequence[AuditReport], folders: Sequence[Path], formats: Sequence[Format], common: Common
) -> None:
    """Write the formats of both audits and the comparison, and print the comparison.

    Args:
        defence: specs of the defences.
        reports: without and with the defences.
        folders: of the two audits.
        formats: that each is written in too; none goes to stdout.
        common: options of every verb.
    """
    written = [folder / name for folder in folders for name in ("audit.json", "report.html")]
    for report, folder in zip(reports, folders, strict=True):
        written += [write_format(report, folder, form)[0] for form in formats]
    without, behind = reports
    place = folders[0].parent
    values = write_comparison(place, defence, without, behind)
    if common.json:
        both = {name: to_json(report) for name, report in zip((WITHOUT, WITH), reports, strict=True)}
        emit({**values, **both, "folder": str(place)})
        return
    print(printable(f"Audits of {without.host.id}, without and with {defence}, battery {without.grid.battery}"))
    print(f"Read first: {without.limits[0]}")
    print(LIMIT)
    print()
    for name, report in zip((WITHOUT, WITH), reports, strict=True):
        print(f"{name}: {report.verdict.level}: {printable(report.verdict.text)}")
    print()
    print_wide(_table(side_by_side(without, behind)))
    for name, report in zip((WITHOUT, WITH), reports, strict=True):
        for flag in report.flags:
            print(printable(f"{name}: {flag.severity}: {flag.name}: {flag.text}"))
    print()
    print(f"The audits asked for {sum(report.bill.images for report in reports):,} images.")
    print(printable(f"report {', '.join(map(str, dict.fromkeys([place / FILE, *written])))}"))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    heads = ("rung", "task", "images", "without", "95 % interval", "with", "95 % interval")
    for heading in (*heads, "difference", "95 % interval", "left", ""):
        table.add_column(heading, justify="left" if heading in ("rung", "task", "") else "right")
    for row in rows:
        left = "" if row.share_left is None else f"{row.share_left:.0%}"
        numbers = (
            *_gain(row.gain_without, row.interval_without),
            *_gain(row.gain_with, row.interval_with),
            *_gain(row.difference, row.interval),
        )
        state = STATES.get(row.state, row.state)
        table.add_row(row.rung, printable(row.task), f"{row.budget:,}", *numbers, left, state)
    return table


def _gain(value: float | None, interval: Any) -> tuple[str, str]:
    if value is None:
        return "", ""
    return f"{value:+.2f}", f"{interval[0]:+.2f} to {interval[1]:+.2f}"
