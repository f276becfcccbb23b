"""The checks of an audit: each looks for one thing that speaks against the numbers, and raises its flag."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reprogram.auditing.estimates import by_key, differences, mean_of
from reprogram.auditing.flags import KINDS, SEVERITIES, Flag
from reprogram.auditing.intervals import gain_interval, lower_end
from reprogram.auditing.report import CellResult, Estimate, Probe
from reprogram.auditing.results import Answers
from reprogram.auditing.subject import RUNGS, AuditedHost, Rung
from reprogram.utils.text import printable

NOTICEABLE = 0.03
"""A smaller difference of accuracies isn't flagged, however sure it is."""

DRIFT = 0.1
"""A host that changed gives another top label to more than this part of the images, beyond its own disagreement."""

TIMES = 3.0
"""Or its probabilities differ by more than this many times what they differ by when it is asked twice at once."""

FEW_STEPS = 25
"""A program that was moved by fewer steps was hardly learned: its label map did the work."""

NOISE = 1e-3
"""A larger difference between two probabilities of the same image isn't rounding."""

MOSTLY_ZERO = 0.5
"""Above this part of exact zeros a gradient is called masked."""

WIDE = 0.1
"""Half of an interval that is wide."""

MOST_SAID = 3
"""The most findings of a kind that a flag's text names."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the checks look at.

    Attributes:
        host: the host.
        cells: the results of all cells.
        answers: of the finished ones, by name.
        estimates: made of them.
        probe: what was asked beside; None where nothing was.
    """

    host: AuditedHost
    cells: Sequence[CellResult]
    answers: Mapping[str, Answers]
    estimates: Sequence[Estimate]
    probe: Probe | None


def flags_of(found: Found) -> tuple[Flag, ...]:
    """All flags of an audit, the worst first.

    Args:
        found: what was found.
    """
    flags = [flag for check in CHECKS for flag in check(found)]
    return tuple(sorted(flags, key=lambda flag: SEVERITIES.index(flag.severity)))


def _failed(found: Found) -> Iterator[Flag]:
    failed = [cell for cell in found.cells if cell.state == "failed"]
    if failed:
        reasons = dict.fromkeys(cell.error for cell in failed)
        first = printable(next(iter(reasons)))
        more = f", and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
        text = f"{len(failed)} of {len(found.cells)} cells failed: {first}{more}"
        yield KINDS["failed-cells"].flag(text, tuple(cell.name for cell in failed))


def _probed(found: Found) -> Iterator[Flag]:
    probe = found.probe
    if probe is None:
        return
    if changed(probe):
        yield KINDS["changed-during-audit"].flag(
            f"{probe.drift:.0%} of {probe.images} images got another top label at the end of the audit than at its "
            f"beginning, and a probability differs by {probe.drift_difference or 0:.3f}; asked twice at once, "
            f"{probe.disagreement:.0%} did, and {probe.largest_difference:.3f}"
        )
    if probe.error:
        yield KINDS["unfinished-probe"].flag(f"the host gave no answers at the end of the audit: {probe.error}")
    if probe.disagreement > 0 or probe.largest_difference > NOISE:
        yield KINDS["stochastic-answers"].flag(
            f"asked twice, {probe.disagreement:.0%} of {probe.images} images got another top label; a probability "
            f"differed by up to {probe.largest_difference:.3f}"
        )
    if probe.constant:
        yield KINDS["constant-answers"].flag(f"all {probe.images} images got the same numbers")
    if probe.looks_normalised and not probe.constant:
        yield KINDS["probabilities-as-logits"].flag(
            f"the scores of all {probe.images} images are between 0 and 1, and sum to 1"
        )
    if probe.decimals is not None and not probe.constant:
        yield KINDS["rounded-scores"].flag(f"the highest number of each image has {probe.decimals} decimals")
    if probe.zero_gradient is not None and probe.zero_gradient > MOSTLY_ZERO:
        yield KINDS["zero-gradient"].flag(f"{probe.zero_gradient:.0%} of the gradient's numbers are 0 or next to it")


def changed(probe: Probe) -> bool:
    """Whether the answers at the end are others, beyond what the host disagrees with itself.

    Args:
        probe: what was asked beside the cells.
    """
    if probe.drift is None:
        return False
    differs = (probe.drift_difference or 0.0) > NOISE + TIMES * probe.largest_difference
    return differs or probe.drift > probe.disagreement + DRIFT


def rungs_of_few_steps(found: Found) -> list[Rung]:
    """The rungs on which most cells with the largest budget moved their programs by few steps.

    Args:
        found: what was found.
    """
    largest = max((cell.budget for cell in found.cells), default=0)
    rungs: dict[Rung, list[bool]] = {}
    for cell in found.cells:
        if cell.state == "finished" and cell.budget == largest and cell.steps is not None:
            rungs.setdefault(cell.rung, []).append(cell.steps < FEW_STEPS)
    return [rung for rung, few in rungs.items() if 2 * sum(few) > len(few)]


def _few_steps(found: Found) -> Iterator[Flag]:
    few = [cell for cell in found.cells if cell.steps is not None and cell.steps < FEW_STEPS]
    if few:
        steps = sorted({cell.steps for cell in few if cell.steps is not None})
        between = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else str(steps[0])
        rungs = ", ".join(dict.fromkeys(cell.rung for cell in few))
        text = f"{len(few)} of {len(found.cells)} cells moved their program by {between} steps, on {rungs}"
        yield KINDS["few-steps"].flag(text, tuple(cell.name for cell in few))


def _rungs(found: Found) -> Iterator[Flag]:
    """More access did worse than less, with the same task, budget and seeds."""
    groups = by_key(found.cells, found.answers)
    lines: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for (rung, task, budget), more in groups.items():
        for other in RUNGS[RUNGS.index(rung) + 1 :]:
            less = groups.get((other, task, budget), [])
            rows = differences(more, less, found.answers)
            if not rows or min(mean_of(rows) - NOTICEABLE, gain_interval(rows)[0]) <= 0:
                continue
            learned = [(found.answers[cell.name].images, found.answers[cell.name].minus("majority")) for cell in less]
            if gain_interval(learned)[0] <= 0:  # It says one class, and that one is more frequent than the other's.
                continue
            kind = "black-box-beat-white-box" if rung == "gradient" else "more-access-did-worse"
            text = f"{task}, {budget:,} images: {other} got {mean_of(rows):.3f} more than {rung}"
            lines.setdefault(kind, []).append((text, tuple(cell.name for cell in (*more, *less))))
    for kind, parts in lines.items():
        more_lines = f"; and {len(parts) - MOST_SAID} more" if len(parts) > MOST_SAID else ""
        names = dict.fromkeys(name for _, names in parts for name in names)
        yield KINDS[kind].flag("; ".join(text for text, _ in parts[:MOST_SAID]) + more_lines, tuple(names))


def _rising(found: Found) -> Iterator[Flag]:
    last = {(estimate.rung, estimate.task): estimate for estimate in found.estimates}  # Budgets grow.
    rising = [estimate for estimate in last.values() if estimate.still_rising]
    if rising:
        where = ", ".join(f"{estimate.task} on {estimate.rung}" for estimate in rising)
        names = tuple(name for estimate in rising for name in estimate.cells)
        yield KINDS["still-rising"].flag(f"the largest budget got more than the one before it: {where}", names)


def rungs_of_plain_answers(found: Found) -> list[Rung]:
    """The rungs on which the host's answers to plain images do a task.

    Args:
        found: what was found.
    """
    return list(dict.fromkeys(estimate.rung for estimate, _, _ in _done_by_plain_answers(found)))


def _done_by_plain_answers(found: Found) -> Iterator[tuple[Estimate, str, str]]:
    """Estimates of tasks of which plain answers tell more than what needs no host, and the best term of each kind."""
    last = {(estimate.rung, estimate.task): estimate for estimate in found.estimates}
    for estimate in last.values():
        best = max(("map_alone", "nearest_neighbour"), key=lambda term: estimate.terms[term])
        alone = max(("direct_training", "simple_features"), key=lambda term: estimate.terms[term])
        own = [found.answers[name] for name in estimate.cells]
        rows = [(a.images, a.terms[best] - a.terms[alone]) for a in own]
        if mean_of(rows) > NOTICEABLE and lower_end(rows) > 0:
            yield estimate, best, alone


def _plain_answers(found: Found) -> Iterator[Flag]:
    """The host's answers to plain images tell more than a net of one's own."""
    for estimate, best, alone in _done_by_plain_answers(found):
        yield KINDS["answers-alone-suffice"].flag(
            f"{estimate.task} on {estimate.rung}: {best} reaches {estimate.terms[best]:.2f}, and {alone}, which "
            f"needs no host, {estimate.terms[alone]:.2f}",
            estimate.cells,
        )


def _uncertain(found: Found) -> Iterator[Flag]:
    single = [estimate for estimate in found.estimates if len(estimate.seeds) == 1]
    if single:
        names = tuple(name for estimate in single for name in estimate.cells)
        yield KINDS["few-seeds"].flag(f"{len(single)} of {len(found.estimates)} estimates are of one seed", names)
    wide = [
        e for e in found.estimates if e.interval[0] < 0 < e.interval[1] and e.interval[1] - e.interval[0] > 2 * WIDE
    ]
    if wide:
        names = tuple(name for estimate in wide for name in estimate.cells)
        yield KINDS["wide-interval"].flag(
            f"{len(wide)} of {len(found.estimates)} intervals hold 0 and reach further than {WIDE:g} to either side",
            names,
        )


def _of_access(found: Found) -> Iterator[Flag]:
    if found.estimates and not any(estimate.rung == "gradient" for estimate in found.estimates):
        has = found.host.access == "gradient"
        why = (
            "the rung wasn't asked for, though the host gives gradients"
            if has
            else f"the host gives {found.host.access}"
        )
        yield KINDS["no-ceiling"].flag(f"the audit has no gradient rung: {why}")
    lost = [cell for cell in found.cells if cell.lost]
    if lost:
        total = sum(cell.lost for cell in lost)
        yield KINDS["lost-images"].flag(
            f"the answers to {total:,} images never came whole", tuple(c.name for c in lost)
        )


CHECKS: tuple[Callable[[Found], Iterator[Flag]], ...] = (
    _failed,
    _probed,
    _rungs,
    _few_steps,
    _rising,
    _plain_answers,
    _uncertain,
    _of_access,
)
"""Every check."""
