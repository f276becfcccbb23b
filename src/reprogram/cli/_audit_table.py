"""The table of an audit on a terminal."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reprogram.auditing.allowance import probe_asks
from reprogram.auditing.beside import shared_limit
from reprogram.auditing.execute import Audit
from reprogram.auditing.expect import Expected
from reprogram.auditing.formats._words import at_run_time
from reprogram.auditing.report import AuditReport, Estimate
from reprogram.utils.text import duration, printable

TERMS = {
    "chance": "chance",
    "majority": "majority",
    "map_alone": "map alone",
    "nearest_neighbour": "nearest",
    "direct_training": "own net",
    "simple_features": "simple",
}
"""The columns of the terms, by the terms' names."""


def show_report(report: AuditReport) -> None:
    """Print a report for people: what it can't show, the verdict, the table, prices and flags.

    Args:
        report: the report.
    """
    print(printable(f"Audit of {report.host.id}, battery {report.grid.battery}, checksum {report.checksum}"))
    print(f"Read first: {report.limits[0]}")
    print()
    print(f"{report.verdict.level}: {printable(report.verdict.text)}")
    print()
    print_wide(_estimates(report))
    best = {(e.rung, e.task): e for e in report.estimates}  # Budgets grow.
    for estimate in best.values():
        print(printable(f"{estimate.rung}: {estimate.translation.text}"))
    for line in filter(None, map(at_run_time, best.values())):
        print(printable(line))
    if report.probe is not None and report.probe.gradient_size is not None:
        print(
            f"average input gradient: size {report.probe.gradient_size:.3g}, alignment "
            f"{report.probe.gradient_alignment:.2f} (a correlate of what gradients get, no measurement of it)"
        )
    for flag in report.flags:
        print()
        print(printable(f"{flag.severity}: {flag.name}: {flag.text}"))
        print(printable(f"  what to do: {flag.advice}"))
    cost = "" if report.bill.cost is None else f", {report.bill.cost:,.2f}"
    print()
    print(f"The audit asked for {report.bill.images:,} images{cost}.")


def show_plan(audit: Audit, rows: list[Expected], workers: int) -> None:
    """Print what an audit will ask, take and cost.

    Args:
        audit: the audit.
        rows: what its cells will ask.
        workers: that share the time.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("rung", "task", "cells", "finished", "images", "time", "cost"):
        table.add_column(heading, justify="left" if heading in ("rung", "task") else "right")
    for row in rows:
        time = "unknown" if row.seconds is None else duration(row.seconds)
        cost = "" if row.cost is None else f"{row.cost:,.2f}"
        table.add_row(row.rung, printable(row.task), str(row.cells), str(row.finished), f"{row.images:,}", time, cost)
    print_wide(table)
    print(summary(audit, rows, workers))


def plan_json(audit: Audit, rows: list[Expected]) -> dict[str, Any]:
    """What an audit will ask, as JSON values.

    Args:
        audit: the audit.
        rows: what its cells will ask.
    """
    cells = [{"name": c.cell.name, "folder": str(c.cell.config.folder)} for c in audit.plan.cells]
    return {"expected": [asdict(row) for row in rows], "probe_images": probe_asks(audit.host), "cells": cells}


def limit_json(audits: Sequence[Audit]) -> dict[str, Any]:
    """Whether a plan fits its limit, as JSON values; nothing without a limit.

    Args:
        audits: one, or those without and with defences, which share the limit.
    """
    limit = shared_limit(audits)
    if limit is None:
        return {}
    needed = sum(audit.needed() for audit in audits)
    return {"limit": {"images": limit, "needed": needed, "missing": max(needed - limit, 0), "fits": needed <= limit}}


def limit_line(*, images: int, needed: int, missing: int, fits: bool) -> str:
    """Whether a plan fits its limit, in a line.

    Args:
        images: the limit.
        needed: images that the whole audit asks at the most, with what it has asked already.
        missing: images that the limit is too small by.
        fits: whether it isn't.
    """
    whole = f"the whole audit asks for {needed:,} images at the most, with what it has asked already"
    return f"fits: {whole}, of {images:,}" if fits else f"doesn't fit: {whole}, {missing:,} more than {images:,}"


def summary(audit: Audit, rows: list[Expected], workers: int) -> str:
    """What an audit will ask in all, in one line.

    Args:
        audit: the audit.
        rows: what its cells will ask.
        workers: that share the time.
    """
    cells, finished = sum(row.cells for row in rows), sum(row.finished for row in rows)
    images = sum(row.images for row in rows) + probe_asks(audit.host) + audit.loading
    seconds = [row.seconds for row in rows]
    known = [s for s in seconds if s is not None]
    time = f", about {duration(sum(known) / max(workers, 1))}" if len(known) == len(seconds) else ""
    time += f" with {workers} workers" if time and workers > 1 else ""
    cost = "" if audit.price is None else f", which cost {audit.price * images / 1000:,.2f}"
    return f"{cells - finished} of {cells} runs, asks for {images:,} images at the most{cost}{time}"


def _estimates(report: AuditReport) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("rung", "task", "images", "accuracy", *TERMS.values(), "gain", "95 % interval", "of ceiling"):
        table.add_column(heading, justify="left" if heading in ("rung", "task") else "right")
    for estimate in report.estimates:
        table.add_row(*_row(estimate))
    return table


def _row(estimate: Estimate) -> list[str]:
    low, high = estimate.interval
    known = estimate.terms  # Earlier reports have fewer.
    terms = [f"{known[name]:.2f}{'*' if name == estimate.over else ''}" if name in known else "" for name in TERMS]
    share = "" if estimate.ceiling_share is None else f"{estimate.ceiling_share:.0%}"
    rising = "+" if estimate.still_rising else ""
    return [
        estimate.rung,
        printable(estimate.task),
        f"{estimate.budget:,}{rising}",
        f"{estimate.accuracy:.2f}",
        *terms,
        f"{estimate.gain:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        share,
    ]


def print_wide(renderable: Any) -> None:
    """Print on stdout; in a file or a pipe lines are as long as they have to be.

    Args:
        renderable: a table of rich.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    Console(file=sys.stdout, width=width, highlight=False, markup=False).print(renderable)
