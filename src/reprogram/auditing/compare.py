"""Two reports of the same audit, held against each other: what got worse, and what got better."""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from reprogram.auditing.intervals import difference_interval
from reprogram.auditing.report import AuditReport, Estimate, Interval
from reprogram.auditing.subject import Grid, Rung
from reprogram.errors import ConfigError


def checksum(grid: Grid, version: str) -> str:
    """The checksum of an audit; those of reports that may be compared are equal.

    It covers battery, tasks and their images, budgets, seeds, the attacks of all rungs and the version, but not the
    host: comparing hosts, or a host with its successor, is what it is for.

    Args:
        grid: what was run.
        version: of reprogram.

    Returns:
        16 hexadecimal digits of a SHA-256.
    """
    text = json.dumps([_without_host(grid), version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of an estimate from one report to another.

    Attributes:
        rung: the rung of access.
        task: the task's short name.
        budget: in images.
        old: the earlier gain.
        new: the later gain.
        difference: new − old.
        interval: 95 % of the difference.
        state: "worse" where more can be got and the interval lies above 0, "better" where it lies below, else "same".
    """

    rung: Rung
    task: str
    budget: int
    old: float
    new: float
    difference: float
    interval: Interval
    state: Literal["worse", "better", "same"]

    @property
    def text(self) -> str:
        """The change in one line."""
        low, high = self.interval
        return (
            f"{self.state}: {self.task} on {self.rung} with {self.budget:,} images, gain {self.old:+.3f} -> "
            f"{self.new:+.3f} ({self.difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})"
        )


def compare(old: AuditReport, new: AuditReport) -> tuple[Change, ...]:
    """Hold two reports against each other, estimate by estimate.

    Args:
        old: the earlier report.
        new: the later one.

    Returns:
        The changes, what got worse first.

    Raises:
        ConfigError: the reports are of different audits; names what differs.
    """
    check_comparable(old, new.grid, new.version)
    check_same_terms(old, _terms(new))
    theirs = {(e.rung, e.task, e.budget): e for e in old.estimates}
    pairs = [(theirs.get((e.rung, e.task, e.budget)), e) for e in new.estimates]
    changes = [change_of(before, after) for before, after in pairs if before is not None]
    order = ("worse", "better", "same")
    return tuple(sorted(changes, key=lambda change: (order.index(change.state), -abs(change.difference))))


def change_of(before: Estimate, after: Estimate) -> Change:
    """What became of an estimate.

    Args:
        before: the estimate of the earlier report.
        after: that of the same rung, task and budget of the later one.
    """
    low, high = difference_interval(after.gain, after.interval, before.gain, before.interval)
    return Change(
        rung=after.rung,
        task=after.task,
        budget=after.budget,
        old=before.gain,
        new=after.gain,
        difference=after.gain - before.gain,
        interval=(low, high),
        state="worse" if low > 0 else "better" if high < 0 else "same",
    )


def missing(old: AuditReport, new: AuditReport) -> list[str]:
    """The estimates that one of two reports lacks, because its cells failed: a line each.

    Args:
        old: the earlier report.
        new: the later one.
    """
    keys = [{(e.rung, e.task, e.budget) for e in report.estimates} for report in (old, new)]
    lines = []
    for name, more, less in (("the earlier", keys[1], keys[0]), ("the later", keys[0], keys[1])):
        lines += [
            f"{task} on {rung} with {budget:,} images is missing in {name} report"
            for rung, task, budget in sorted(more - less)
        ]
    return lines


def check_comparable(old: AuditReport, grid: Grid, version: str, where: str = "the reports") -> None:
    """Refuse a report that is of another audit than a grid's.

    Args:
        old: the report.
        grid: what the other audit runs.
        version: of reprogram, of the other audit.
        where: the source of the report, for the message.

    Raises:
        ConfigError: the checksums differ; names the first thing that does.
    """
    if old.checksum == checksum(grid, version):
        return
    if old.version != version:
        differs = f"reprogram {old.version} and {version}"
    else:
        differs = next(
            (
                f"{f.name} {_short(getattr(old.grid, f.name))} and {_short(getattr(grid, f.name))}"
                for f in dataclasses.fields(Grid)
                if _without_host(old.grid)[f.name] != _without_host(grid)[f.name]
            ),
            f"checksums {old.checksum} and {checksum(grid, version)}",
        )
    raise ConfigError(f"{where}: can't be compared, they are of different audits: {differs}; make both with the same")


def check_same_terms(old: AuditReport, terms: Collection[str], where: str = "the reports") -> None:
    """Refuse a report whose gains are counted from other terms: one more of them can only lower a gain.

    Args:
        old: the report.
        terms: of the other audit, by name.
        where: the source of the report, for the message.

    Raises:
        ConfigError: the terms differ; names them.
    """
    if old.estimates and (odd := sorted(_terms(old) ^ set(terms))):
        raise ConfigError(
            f"{where}: can't be compared, their gains are counted from other terms ({', '.join(odd)}); make both anew"
        )


def _terms(report: AuditReport) -> set[str]:
    return {term for estimate in report.estimates for term in estimate.terms}


def _short(value: object) -> str:
    items = value if isinstance(value, tuple) else (value,)
    names = [str(getattr(item, "name", getattr(item, "rung", item))) for item in items]
    return ", ".join(names[:6])


def _without_host(grid: Grid) -> dict[str, Any]:
    values = dataclasses.asdict(grid)
    for attack in values["attacks"]:
        del attack["host"]
    return values
