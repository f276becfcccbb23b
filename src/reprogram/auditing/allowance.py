"""What a whole audit may ask: the most that each part of it needs, what is spent, and a limit shared among the parts.

Each part keeps to its own share, wherever it runs: a worker needs to know of no other one. A share is what the part
needs at the most, and an equal part of what is left over, for answers that are lost and for repetitions after a kill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reprogram.auditing.formats._pictures import SHOWN as PAIRS
from reprogram.auditing.plan import AuditPlan, PlannedCell
from reprogram.auditing.probe import FIXED, SHOWN, Prober
from reprogram.errors import BudgetError, ConfigError, DataError
from reprogram.hosts._meter import images_for
from reprogram.hosts._store import billed_in
from reprogram.hosts.base import Host
from reprogram.runs.asked import AskedLog
from reprogram.runs.folder import RunFolder
from reprogram.runs.forecast import LEARNING, MAP, VALIDATIONS, Forecast, forecast
from reprogram.runs.measure import build
from reprogram.tasks.base import Task

ITSELF = "the audit's own questions"
"""The name of the part that asks beside the cells."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A part of an audit.

    Attributes:
        name: of the cell, or `ITSELF`.
        most: images that it asks at the most, those that are spent included; of a finished one those that it asked.
        is_open: whether it isn't finished.
    """

    name: str
    most: int
    is_open: bool


def limit_of(queries: int | None, cost: float | None, price: float | None) -> int | None:
    """The images that a whole audit may ask; None for no limit.

    Args:
        queries: in images; None for no such limit.
        cost: in money; None for no such limit.
        price: of 1,000 images; None where it isn't known.

    Raises:
        ConfigError: a limit is out of range.
        BudgetError: money is limited, and the price isn't known.
    """
    if queries is not None and queries < 1:
        raise ConfigError(f"queries={queries}; at least 1 is expected")
    if cost is None:
        return queries
    if not 0 < cost < float("inf"):
        raise ConfigError(f"cost={cost}; a positive number is expected")
    if price is None:
        raise BudgetError(f"cost={cost:g} needs the price of 1,000 images; give price too")
    bought = images_for(cost, price)
    return bought if queries is None else min(queries, bought)


def shares_of(
    plan: AuditPlan, host: Host, tasks: Mapping[str, Task], prober: Prober, known: dict[Any, int], *, loading: int
) -> list[Share]:
    """What each part of an audit needs at the most, the audit's own questions last; nothing is asked.

    Args:
        plan: of the audit.
        host: the host.
        tasks: by their short names.
        prober: of the audit; its files say what it has asked.
        known: what cells need by their kinds, as far as it was computed before; the rest is added.
        loading: images that the host is asked for each time that it is loaded.
    """
    shares = []
    for planned in plan.cells:
        folder = RunFolder(planned.cell.config.folder)
        counted = images_counted(folder)
        if counted is not None:
            shares.append(Share(name=planned.cell.name, most=counted + beside(folder, counted), is_open=False))
            continue
        kind = (planned.rung, planned.task, planned.budget, planned.cell.config.baselines)
        if kind not in known:
            known[kind] = most_images(planned, forecast_of(planned, host, tasks[planned.task]), host)
        log = AskedLog(folder.asked)
        spent = log.total + billed_in(folder.answers)
        most = max(known[kind] + log.total, spent) + loading
        shares.append(Share(name=planned.cell.name, most=most, is_open=True))
    own = prober.spent + loading + max(probe_asks(host) - prober.done, 0)
    return [*shares, Share(name=ITSELF, most=own, is_open=True)]


def limits_of(shares: Sequence[Share], limit: int) -> dict[str, int]:
    """The limit of each open part, which together with what is spent make the limit of the audit.

    Args:
        shares: of all parts; together they need no more than the limit.
        limit: of the audit.
    """
    waiting = [share for share in shares if share.is_open]
    # (limit − Σ most) / open parts
    more = (limit - sum(share.most for share in shares)) // len(waiting)
    return {share.name: share.most + more for share in waiting}


def require_enough(needed: int, limit: int | None, given: str) -> None:
    """Refuse an audit that may need more than its limit, before anything is asked.

    Args:
        needed: images that the audit asks at the most, with what it has asked already.
        limit: of the audit; None for no limit.
        given: the limit as the user said it, for the message.

    Raises:
        BudgetError: the limit is too small; says what is needed.
    """
    if limit is not None and needed > limit:
        raise BudgetError(
            f"{given}: the whole audit needs {needed:,} images at the most, {needed - limit:,} more than {limit:,}; "
            "give more, or a smaller battery, fewer --budgets, --seeds, --rungs or --tasks; nothing was asked"
        )


def probe_asks(host: Host) -> int:
    """The images that are asked beside the cells, at the most.

    Args:
        host: the host.
    """
    pairs = PAIRS if host.is_local else 0
    return (FIXED + SHOWN) * (4 if host.info.access == "gradient" else 3) + pairs


def forecast_of(planned: PlannedCell, host: Host, task: Task, *, timed: bool = False) -> Forecast:
    """What a cell will ask, part by part.

    Args:
        planned: the cell.
        host: the host; it is asked nothing that counts.
        task: the cell's task.
        timed: whether a few images are timed.
    """
    config = planned.cell.config
    task = task if config.shots is None else task.few(config.shots, seed=config.seed)
    return forecast(config, build(config, host, task), task, processes=int(timed and host.is_local))


def most_images(planned: PlannedCell, found: Forecast, host: Host) -> int:
    """The images that a cell asks at the most: its budget, and what follows on it.

    Args:
        planned: the cell.
        found: its forecast.
        host: the host, which may be asked several times about an image, and for fixed images in the end.
    """
    after = sum(part.images or 0 for name, part in found.parts.items() if name not in (LEARNING, VALIDATIONS, MAP))
    return planned.budget + after + host.sentinels * host.asks_per_image


def images_counted(folder: RunFolder) -> int | None:
    """The images that a finished run's bill counts, the lost ones too; None where it isn't finished.

    Args:
        folder: of the run.
    """
    try:
        result = folder.read_result()
        return int(result["host_images"]) + int(result.get("bill", {}).get("lost", 0))
    except (OSError, KeyError, DataError):
        return None


def beside(folder: RunFolder, counted: int | None) -> int:
    """The images that a run's processes asked and that its bill doesn't count.

    Args:
        folder: of the run.
        counted: images that the bill of the finished run counts; None of one that isn't finished, which has no bill.
    """
    log = AskedLog(folder.asked)
    if counted is None:
        return log.total + billed_in(folder.answers)
    return log.loads + max(log.counts - counted, 0)
