"""What an audit will ask, take and cost, before anything is asked."""

from dataclasses import dataclass

from reprogram.auditing.allowance import forecast_of, most_images
from reprogram.auditing.execute import Audit
from reprogram.auditing.plan import PlannedCell
from reprogram.auditing.subject import Rung
from reprogram.runs.folder import RunFolder
from reprogram.runs.forecast import LEARNING, MAP, TEST, VALIDATIONS
from reprogram.utils.files import exists


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the cells of a rung and task will ask.

    Attributes:
        rung: the rung of access.
        task: the task's short name.
        cells: how many there are.
        finished: how many of them are finished already; the rest counts below.
        images: that the host will be asked for, at the most: learning, test and baselines.
        seconds: of one worker, by a few images that were timed; of a service by the stated rate. None where neither is
            known.
        cost: at the stated price; None without one.
    """

    rung: Rung
    task: str
    cells: int
    finished: int
    images: int
    seconds: float | None
    cost: float | None


def expected(audit: Audit, *, timed: bool = True) -> list[Expected]:
    """What the cells that aren't finished will ask, by rung and task.

    Args:
        audit: the audit.
        timed: whether a few images are timed, on a host that computes here. They aren't counted.
    """
    rows = []
    for attack in audit.plan.grid.attacks:
        for task in audit.plan.grid.tasks:
            cells = [c for c in audit.plan.cells if (c.rung, c.task) == (attack.rung, task.name)]
            left = [c for c in cells if not exists(RunFolder(c.cell.config.folder).result)]
            asked = [_of_cell(audit, c, timed and c is left[0]) for c in _kinds(left)]
            per_image = next((seconds for _, _, seconds, _ in asked if seconds is not None), None)
            counts = {(c.budget, c.cell.config.baselines): sum(_kind(c) == _kind(d) for d in left) for c in left}
            images = sum(counts[key] * (n + audit.loading) for key, n, _, _ in asked)
            apart = sum(counts[key] * seconds for key, _, _, seconds in asked)
            seconds = None if per_image is None else per_image * images + apart
            if audit.rate is not None and not audit.host.is_local:
                seconds = images / audit.rate
            rows.append(
                Expected(
                    rung=attack.rung,
                    task=task.name,
                    cells=len(cells),
                    finished=len(cells) - len(left),
                    images=images,
                    seconds=seconds,
                    cost=None if audit.price is None else audit.price * images / 1000,
                )
            )
    return rows


def _kind(planned: PlannedCell) -> tuple[int, tuple[str, ...]]:
    return planned.budget, planned.cell.config.baselines


def _kinds(cells: list[PlannedCell]) -> list[PlannedCell]:
    """The first cell of each budget and set of baselines: the others ask as much."""
    return list({_kind(cell): cell for cell in reversed(cells)}.values())[::-1]


def _of_cell(
    audit: Audit, planned: PlannedCell, timed: bool
) -> tuple[tuple[int, tuple[str, ...]], int, float | None, float]:
    """A cell's kind, the images that it asks, the seconds of an image, and the seconds of what asks nothing."""
    found = forecast_of(planned, audit.host, audit.tasks[planned.task], timed=timed)
    after = [part for name, part in found.parts.items() if name not in (LEARNING, VALIDATIONS, MAP)]
    images = most_images(planned, found, audit.host)
    per_image = found.parts[TEST].seconds_per_image
    learning = found.parts[LEARNING].seconds_per_image
    if per_image is not None and learning is not None and planned.rung == "gradient":
        per_image = (learning * planned.budget + per_image * (images - planned.budget)) / images
    return _kind(planned), images, per_image, sum(part.seconds_apart or 0.0 for part in after)
