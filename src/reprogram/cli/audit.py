"""`reprogram audit`: how much of another task a stranger can get out of a host, at what price."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reprogram.cli._audit_options import Many, What, Where
from reprogram.cli._completers import components
from reprogram.cli.console import Common, Display, emit
from reprogram.cli.usage import UsageError
from reprogram.errors import ConfigError
from reprogram.utils.process import start_torch
from reprogram.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reprogram.auditing.compare import Change
    from reprogram.auditing.execute import Audit
    from reprogram.auditing.formats.base import Format
    from reprogram.auditing.report import AuditReport
    from reprogram.auditing.verdict import Gate

EXIT_FAILED, EXIT_GATE = 3, 10

Formats = Parameter(name="--format", negative=(), consume_multiple=True, completer=components("formats"))


def audit_command(
    host: Annotated[str, Parameter(completer=components("hosts"))] = "",
    /,
    *reports: Path,
    what: What | None = None,
    defence: Annotated[str | None, Parameter(completer=components("defences"))] = None,
    plan: Annotated[bool, Parameter(negative=())] = False,
    self_test: Annotated[bool, Parameter(negative=())] = False,
    fail_above: Annotated[list[str] | None, Many] = None,
    baseline: Path | None = None,
    format_: Annotated[list[str] | None, Formats] = None,
    where: Where | None = None,
    common: Common | None = None,
) -> int:
    """Measure how much of other tasks a stranger can get out of a host, beyond what needs no program, and its price.

    `reprogram audit compare OLD NEW` holds two reports against each other. Each cell is an ordinary run below --out;
    the same command goes on with what is missing. Exit codes: 0 done, 2 usage, 3 wrong options, data or failed cells, 5
    a host that can't be used, 10 a gate.

    Args:
        host: spec of the host: a checkpoint, python:FILE:FUNCTION, a service's URL; or "compare".
        reports: for compare, the earlier and the later audit.json.
        what: what is audited.
        defence: audit the host without and with these defences, and show both side by side: specs joined by +; gates
            are for the host with them.
        plan: only show what the audit would ask, take and cost.
        self_test: audit hosts of which the answer is known, with --seeds, and then the host, if one is given; exit with
            6 if the audit is wrong about one of them.
        fail_above: exit with 10 if a gain's interval lies above: GAIN@RUNG:BUDGET, such as 0.20@label:10000.
        baseline: an earlier audit.json: exit with 10 if something got worse.
        format_: sarif, junit, cyclonedx, markdown, html or json: written below --out; one alone goes to stdout too, but
            for html. With sarif the exit code of gates is 0, so that the step that uploads it runs.
        where: where cells run.
        common: options of every verb; --threads is each worker's, 1 by default.
    """
    common, what, where = common or Common(), what or What(), where or Where()
    _refuse_empty({"fail-above": fail_above, "format": format_, **vars(what)})
    if host == "compare":
        alone = not (plan or self_test or fail_above or format_) and defence is None and baseline is None
        if not alone or (what, where) != (What(), Where()):
            raise UsageError("reprogram audit compare takes OLD NEW and --json; gates are for audits: --baseline OLD")
        return _compare(reports, common)
    if not host and not self_test:
        raise UsageError("reprogram audit takes HOST, the spec of one, or --self-test, or compare OLD NEW")
    if reports:
        raise UsageError(f"{reports[0]}: is one argument too many; reprogram audit takes one host")
    start_torch(common.threads or 1)
    if self_test:
        from reprogram.cli._audit_self_test import run_self_test

        code = run_self_test(what.seeds or (0,), None if host else what.out, common)
        if code or not host:
            return code
    from reprogram.auditing.output import format_of
    from reprogram.auditing.verdict import Gate

    gates = [Gate.parse(text) for text in fail_above or ()]
    formats = [format_of(spec) for spec in format_ or ()]
    earlier = _read(baseline)
    audits = _prepare(host, defence, {**what.given, "device": common.device or "auto", "patience_s": where.patience_s})
    _check(audits[-1], gates, earlier, baseline)
    if plan:
        _show_plans(audits, _num_workers(where, common), common)
        return 0
    made = _run_all(audits, where, common)
    _show_all(made, audits, defence, formats, common)
    return _conclude(made, gates, earlier, formats)


def _refuse_empty(options: dict[str, Any]) -> None:
    """Refuse an option without a value, such as that of a variable that isn't set: it would mean the default."""
    if empty := [name for name, values in options.items() if values == []]:
        raise UsageError(f"--{empty[0]} has no value; give one, or leave the option out")


def _read(path: Path | None) -> "AuditReport | None":
    from reprogram.auditing.file import read_report

    return None if path is None else read_report(path)


def _check(audit: "Audit", gates: "list[Gate]", earlier: "AuditReport | None", baseline: Path | None) -> None:
    """Refuse a gate that nothing can hit, and an earlier report of another audit, before anything is asked."""
    from reprogram._version import __version__
    from reprogram.auditing.compare import check_comparable, check_same_terms
    from reprogram.auditing.plan import TERMS

    for gate in gates:
        gate.check(audit.plan.grid)
    if earlier is not None:
        check_comparable(earlier, audit.plan.grid, __version__, where=f"{baseline} and this audit")
        check_same_terms(earlier, TERMS, where=f"{baseline} and this audit")
        if not earlier.estimates:
            raise ConfigError(f"{baseline}: holds no estimates, so nothing could be worse; make it anew")


def _prepare(host: str, defence: str | None, options: dict[str, Any]) -> "Sequence[Audit]":
    """The audit, or with defences the one without and then the one with them."""
    from reprogram.auditing.beside import prepare_both
    from reprogram.auditing.prepare import prepare

    return [prepare(host, **options)] if defence is None else prepare_both(host, defence, **options)


def _show_plans(audits: "Sequence[Audit]", workers: int, common: Common) -> None:
    """Print the plan of the audit, or of both under their names."""
    from reprogram.auditing.expect import expected
    from reprogram.cli._audit_table import limit_json, limit_line, plan_json, show_plan

    plans = [(audit, expected(audit)) for audit in audits]
    limits = limit_json(audits)
    if common.json:
        values = [plan_json(audit, rows) for audit, rows in plans]
        both = {audit.out.name: value for audit, value in zip(audits, values, strict=True)}
        emit({**(values[0] if len(audits) == 1 else both), **limits})
        return
    for audit, rows in plans:
        if len(audits) > 1:
            print(printable(f"{audit.out.name}: {audit.host.info.id}"))
        show_plan(audit, rows, workers)
    if limits:
        print(limit_line(**limits["limit"]))


def _num_workers(where: Where, common: Common) -> int:
    """How many workers share the time that a plan tells: a core for each, where nothing is said."""
    if where.executor == "inline":
        return 1
    return where.workers or max((os.cpu_count() or 1) // (common.threads or 1), 1)


def _run_all(audits: "Sequence[Audit]", where: Where, common: Common) -> "list[AuditReport]":
    """Run the audits, unless together they may need more than their limit."""
    from reprogram.auditing.beside import require_both

    require_both(audits)
    return [_run(audit, where, common) for audit in audits]


def _run(audit: "Audit", where: Where, common: Common) -> "AuditReport":
    """Say what the audit asks, and run it."""
    from reprogram.auditing.expect import expected
    from reprogram.cli._audit_table import summary
    from reprogram.cli.sweep import display_cells

    if not common.quiet:
        rows = expected(audit, timed=audit.limit is None)  # What is timed counts nowhere, and a limit is a limit.
        Display(common.quiet).say(summary(audit, rows, _num_workers(where, common)))
    with display_cells(len(audit.plan.cells), common.quiet) as (say, on_event):
        return audit.run(threads=common.threads or 1, say=say, on_event=on_event, **vars(where))


def _conclude(
    reports: "Sequence[AuditReport]", gates: "list[Gate]", earlier: "AuditReport | None", formats: "list[Format]"
) -> int:
    """Print which cells failed, and what the gates say to the last report; returns the exit code."""
    from reprogram.auditing.compare import compare, missing

    report = reports[-1]
    hits = [
        f"{e.task} on {e.rung} with {e.budget:,} images: at least {e.interval[0]:+.3f}, above --fail-above {gate}"
        for gate in gates
        for e in gate.hits(report)
    ]
    if earlier is not None:
        hits += [change.text for change in compare(earlier, report) if change.state == "worse"]
        for line in missing(earlier, report):
            print(f"reprogram: warning: --baseline says nothing of it: {printable(line)}", file=sys.stderr)
    for line in hits:
        print(f"reprogram: {printable(line)}", file=sys.stderr)
    failed = [cell for each in reports for cell in each.cells if cell.state == "failed"]
    for cell in failed:
        print(f"reprogram: {printable(cell.name)} failed: {printable(cell.error)}", file=sys.stderr)
    unfinished = [each.probe.error for each in reports if each.probe is not None and each.probe.error]
    for error in unfinished:
        print(f"reprogram: the last pass of the probe failed: {printable(error)}", file=sys.stderr)
    if not all(form.sets_exit_code for form in formats):
        return 0
    return EXIT_GATE if hits else EXIT_FAILED if failed or unfinished else 0


def _show_all(
    reports: "Sequence[AuditReport]",
    audits: "Sequence[Audit]",
    defence: str | None,
    formats: "list[Format]",
    common: Common,
) -> None:
    """Print the report, or those without and with defences beside each other."""
    if defence is None:
        _show(reports[0], audits[0].out, formats, common)
        return
    from reprogram.cli._audit_beside import show_beside

    show_beside(defence, reports, [audit.out for audit in audits], formats, common)


def _show(report: "AuditReport", out: Path, formats: "list[Format]", common: Common) -> None:
    """Print the report: as the one format that was asked for, as JSON, or as a table with the files' names."""
    from reprogram.auditing.file import to_json
    from reprogram.auditing.output import write_format
    from reprogram.cli._audit_table import show_report

    written = [write_format(report, out, form) for form in formats]
    if common.json:
        emit({**to_json(report), "folder": str(out)})
    elif len(written) == 1 and formats[0].name() != "html":
        print(written[0][1], end="")
        Display(common.quiet).say(f"written to {written[0][0]}")
    else:
        show_report(report)
        paths = dict.fromkeys([out / "audit.json", out / "report.html", *(path for path, _ in written)])
        print(printable(f"report {', '.join(map(str, paths))}"))


def _compare(reports: tuple[Path, ...], common: Common) -> int:
    """Print what became of each estimate; returns the exit code."""
    from dataclasses import asdict

    from reprogram.auditing.compare import compare, missing
    from reprogram.auditing.file import read_report

    if len(reports) != 2:
        raise UsageError("reprogram audit compare takes two reports: OLD NEW")
    old, new = map(read_report, reports)
    changes: tuple[Change, ...] = compare(old, new)
    if common.json:
        emit({"changes": [asdict(change) for change in changes], "missing": missing(old, new)})
        return 0
    for change in changes:
        print(printable(change.text))
    for line in missing(old, new):
        print(printable(line))
    counts = {state: sum(change.state == state for change in changes) for state in ("worse", "better", "same")}
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 0
