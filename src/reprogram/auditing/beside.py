"""A host audited without and with defences before it: two audits of the same grid, side by side."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from reprogram._version import __version__
from reprogram.auditing.allowance import limit_of, require_enough
from reprogram.auditing.compare import change_of
from reprogram.auditing.execute import Audit
from reprogram.auditing.held import AnyHost, held_host
from reprogram.auditing.prepare import default_folder, prepare, said_limit
from reprogram.auditing.report import AuditReport, Estimate, Interval
from reprogram.auditing.subject import Rung
from reprogram.hosts.defended import Defended
from reprogram.registry import format_spec
from reprogram.utils.files import write_atomic
from reprogram.utils.text import html_rows, html_table

WITHOUT, WITH = "without", "with"
"""The folders of the two audits below the one that is named, and their names in files."""

FILE = "comparison.json"
"""The file that holds the two side by side."""

LIMIT = (
    "Each attack learns through the defence, but isn't made for it: an attacker who knows it well may get more. What a "
    "defence takes from those who use the model as it is meant isn't measured here."
)
"""What the comparison doesn't show."""


State = Literal["worse", "better", "same", "no-gain", "not-shown", "missing"]
"""What a defence changes at a row."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An estimate without and with the defences.

    Attributes:
        rung: the rung of access.
        task: the task's short name.
        budget: in images.
        gain_without: the net gain on the bare host; None where its cells failed.
        interval_without: 95 % of it.
        gain_with: the net gain through the defences; None where they don't show this rung, or where cells failed.
        interval_with: 95 % of it.
        difference: with − without; None where one of them isn't known.
        interval: 95 % of the difference.
        share_left: with / without; None unless the interval without lies above 0.
        state: "better" where less can be got with the defences and the interval lies below 0, "worse" where it lies
            above, else "same"; "no-gain" where none is shown on either side, so that there is nothing to defend;
            "not-shown" where the defences hide the rung, "missing" where cells failed.
    """

    rung: Rung
    task: str
    budget: int
    gain_without: float | None
    interval_without: Interval | None
    gain_with: float | None
    interval_with: Interval | None
    difference: float | None
    interval: Interval | None
    share_left: float | None
    state: State


@dataclass(frozen=True, kw_only=True)
class DefenceComparison:
    """What `reprogram.audit(host, defences=[...])` returns: the audits without and with the defences, side by side.

    Attributes:
        defence: specs of the defences, in order, joined by `+`.
        without: the report of the bare host.
        behind: that of the host behind the defences.
        rows: an estimate of both for each rung, task and budget.
        folder: of both audits, with `comparison.json`.
    """

    defence: str
    without: AuditReport
    behind: AuditReport
    rows: tuple[Row, ...]
    folder: Path

    def _repr_html_(self) -> str:
        names = ("rung", "task", "budget", "gain_without", "gain_with", "difference", "interval", "state")
        return html_table({"host": self.without.host.id, "defences": self.defence, "limit": LIMIT}) + html_rows(
            [name.replace("_", " ") for name in names],
            [[_text(getattr(row, name)) for name in names] for row in self.rows],
        )


def prepare_both(
    host: AnyHost,
    defence: str | Sequence[str],
    *,
    out: str | Path = "",
    queries: int | None = None,
    cost: float | None = None,
    **options: Any,
) -> tuple[Audit, Audit]:
    """Plan the audits of a host without and with defences; nothing is asked.

    Args:
        host: what `prepare` takes; it computes here.
        defence: specs of defences in order, in a list or joined by `+`.
        out: the folder of both, each in one of its own below; by default runs/audit-defended-HOST.
        queries: images that both audits together may ask.
        cost: money that both together may cost.
        options: those of `reprogram.auditing.prepare.prepare`.

    Returns:
        The audits without and with.

    Raises:
        ConfigError: there is no such defence, the host can't have one, or what `prepare` refuses.
    """
    by = defence if isinstance(defence, str) else "+".join(defence)
    limit = limit_of(queries, cost, options.get("price"))
    bare, held = (host, None) if isinstance(host, str) else held_host(host)
    spec = format_spec(Defended(Defended.Config(host=bare, by=by)))  # Its own spec would lose a file's folder.
    folder = Path(out or default_folder(spec))
    if held is not None:
        options["device"] = str(held.mean.device)
    behind = replace(prepare(spec, out=folder / WITH, **options), is_held=held is not None)
    both = (prepare(host, out=folder / WITHOUT, **options), behind)
    if limit is None:
        return both
    bare_needs, behind_needs = (audit.needed() for audit in both)
    first = bare_needs + (limit - bare_needs - behind_needs) // 2  # What is left over is shared.
    said = said_limit(queries, cost, limit)
    return replace(both[0], limit=first, said=said), replace(both[1], limit=limit - first, said=said)


def require_both(audits: Sequence[Audit]) -> None:
    """Refuse audits that may together need more than the limit that they share.

    Args:
        audits: one, or those without and with defences.

    Raises:
        BudgetError: the limit is too small; says what is needed.
    """
    if (limit := shared_limit(audits)) is not None:
        require_enough(sum(audit.needed() for audit in audits), limit, audits[0].said)


def shared_limit(audits: Sequence[Audit]) -> int | None:
    """The images that audits may ask together; None for no limit.

    Args:
        audits: one, or those without and with defences.
    """
    limits = [audit.limit for audit in audits if audit.limit is not None]
    return sum(limits) if limits else None


def compare_both(audits: tuple[Audit, Audit], defence: str, run: Callable[[Audit], AuditReport]) -> DefenceComparison:
    """Run both audits, and write them side by side.

    Args:
        audits: without and with the defences.
        defence: specs of the defences.
        run: runs an audit.

    Raises:
        BudgetError: together they may need more than their limit.
    """
    require_both(audits)
    without, behind = (run(audit) for audit in audits)
    folder = audits[0].out.parent
    write_comparison(folder, defence, without, behind)
    rows = side_by_side(without, behind)
    return DefenceComparison(defence=defence, without=without, behind=behind, rows=rows, folder=folder)


def side_by_side(without: AuditReport, behind: AuditReport) -> tuple[Row, ...]:
    """The estimates of both reports, in the order of the bare host's grid.

    Rungs are compared one by one: what is attacked on a rung, and how, is the same in both, also where the defences
    hide other rungs.

    Args:
        without: the report of the bare host.
        behind: that of the host behind defences.
    """
    shown = {attack.rung for attack in behind.grid.attacks}
    found = [{(e.rung, e.task, e.budget): e for e in report.estimates} for report in (without, behind)]
    grid = without.grid
    keys = [(a.rung, t.name, budget) for a in grid.attacks for t in grid.tasks for budget in grid.budgets]
    return tuple(_row(key, found[0].get(key), found[1].get(key), key[0] in shown) for key in keys)


def write_comparison(folder: Path, defence: str, without: AuditReport, behind: AuditReport) -> dict[str, Any]:
    """Write both side by side into the folder, as a whole or not at all.

    Args:
        folder: of both audits.
        defence: specs of the defences.
        without: the report of the bare host.
        behind: that of the host behind defences.

    Returns:
        What was written.

    Raises:
        WriteError: the file can't be written.
    """
    values = {
        "version": __version__,
        "host": without.host.spec,
        "defence": defence,
        "limit": LIMIT,
        "reports": {name: f"{name}/audit.json" for name in (WITHOUT, WITH)},
        "rows": [asdict(row) for row in side_by_side(without, behind)],
    }
    write_atomic(folder / FILE, (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return values


def _row(key: tuple[Rung, str, int], bare: Estimate | None, behind: Estimate | None, shown: bool) -> Row:
    row = Row(
        rung=key[0],
        task=key[1],
        budget=key[2],
        gain_without=None if bare is None else bare.gain,
        interval_without=None if bare is None else bare.interval,
        gain_with=None if behind is None else behind.gain,
        interval_with=None if behind is None else behind.interval,
        difference=None,
        interval=None,
        share_left=None,
        state="missing" if shown else "not-shown",
    )
    if bare is None or behind is None:
        return row
    change = change_of(bare, behind)
    left = behind.gain / bare.gain if bare.interval[0] > 0 else None
    gains = bare.interval[0] > 0 or behind.interval[0] > 0
    state: State = change.state if gains else "no-gain"
    return replace(row, difference=change.difference, interval=change.interval, share_left=left, state=state)


def _text(value: Any) -> str:
    """A value of a row for people."""
    if isinstance(value, tuple):
        return f"{value[0]:+.2f} to {value[1]:+.2f}"
    return "" if value is None else f"{value:+.2f}" if isinstance(value, float) else str(value)
