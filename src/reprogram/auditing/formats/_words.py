"""Words and numbers that several formats share: what a rung is, what a term is, and an estimate as a sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reprogram.auditing.report import AuditReport, Estimate
from reprogram.auditing.subject import RUNGS, Rung
from reprogram.auditing.verdict import SMALLEST_GAIN

PAPER = "https://arxiv.org/abs/1806.11146"

WHAT = (
    "Adversarial reprogramming makes a frozen classifier do another task: a fixed pattern of pixels, learned once, is "
    "put around every image, and the labels that the classifier answers with are read as labels of the new task. The "
    "owner pays for the computation, and whoever may ask decides what it is used for."
)
"""The attack, for somebody who doesn't know it."""

MEASURE = (
    "The net hijack gain is the accuracy with the learned pattern, minus the best accuracy that needs none: guessing, "
    "reading the plain answers, the nearest answer, and a small net or a linear rule made of the same examples without "
    "the host."
)
"""The number, for somebody who doesn't know it."""

NO_TECHNIQUE = (
    "MITRE ATLAS has no technique for reprogramming; the tags name the nearest, AML.T0043.001 (black-box optimization) "
    "and AML.T0034 (cost harvesting)."
)

TAGS = (
    "security",
    "external/mitre/AML.T0043.001",
    "external/mitre/AML.T0034",
    "external/cwe/cwe-1039",
    "failure-mode-in-machine-learning:6-reprogramming-ML-system",
)
"""The last one is the machine tag of the MISP taxonomy, the only one that names reprogramming."""

TERMS = {
    "chance": "guessing",
    "majority": "always the most frequent class",
    "map_alone": "reading the plain answers by the same label map",
    "nearest_neighbour": "the nearest of the plain answers",
    "direct_training": "a small net trained on the same examples, without the host",
    "simple_features": "a linear rule of brightness and a small image, made of the same examples, without the host",
}
"""What needs no program, by the names of the terms."""


MUST_SHOW = {
    "top_label": "the top label alone",
    "map_labels": "the scores of the labels that its map reads",
    "all_scores": "all scores",
}
"""What a host must show when a program is used, by the names of the report."""


@dataclass(frozen=True, kw_only=True)
class RungWords:
    """A rung in words.

    Attributes:
        rule: the identifier of the finding.
        name: in tables.
        sees: what the attacker sees.
        severity: 0 to 10: the less an attacker has to see, the more serious the finding.
    """

    rule: str
    name: str
    sees: str
    severity: float


RUNG_WORDS: dict[Rung, RungWords] = {
    "gradient": RungWords(rule="RPG001", name="weights", sees="the weights, and so every gradient", severity=4.0),
    "scores": RungWords(rule="RPG002", name="all scores", sees="the scores of all labels", severity=6.0),
    "rounded-scores": RungWords(rule="RPG003", name="rounded scores", sees="rounded scores", severity=6.5),
    "top-5": RungWords(rule="RPG004", name="top 5", sees="the first five labels with their scores", severity=7.5),
    "label": RungWords(rule="RPG005", name="label alone", sees="the first label, without a score", severity=8.5),
}
"""Each rung in words; an intruder into the code has the weights, and any customer has the label."""


def most_asked(estimates: Iterable[Estimate]) -> list[Estimate]:
    """The estimates with the largest budget of each rung and task, in the order of the rungs.

    Args:
        estimates: of an audit.
    """
    last: dict[tuple[str, str], Estimate] = {}
    for estimate in estimates:
        before = last.get((estimate.rung, estimate.task))
        if before is None or estimate.budget >= before.budget:
            last[estimate.rung, estimate.task] = estimate
    return sorted(last.values(), key=lambda estimate: RUNGS.index(estimate.rung))


def shown(estimates: Sequence[Estimate]) -> list[Estimate]:
    """For each rung and task on which a gain is shown, the estimate with the largest lower end.

    Args:
        estimates: of an audit.
    """
    best: dict[tuple[str, str], Estimate] = {}
    for estimate in estimates:
        before = best.get((estimate.rung, estimate.task))
        if estimate.interval[0] > SMALLEST_GAIN and (before is None or estimate.interval[0] > before.interval[0]):
            best[estimate.rung, estimate.task] = estimate
    return sorted(best.values(), key=lambda estimate: RUNGS.index(estimate.rung))


def sentence(estimate: Estimate) -> str:
    """An estimate as a sentence with its uncertainty and what it is held against.

    Args:
        estimate: of an audit.
    """
    low, high = estimate.interval
    seeds = f"{len(estimate.seeds)} seeds" if len(estimate.seeds) != 1 else "1 seed"
    return (
        f"Whoever sees {RUNG_WORDS[estimate.rung].sees} and asks {estimate.budget:,} images reaches "
        f"{estimate.accuracy:.3f} on {estimate.task}, {signed(estimate.gain)} (95 % interval {signed(low)} to "
        f"{signed(high)}, {estimate.n:,} test images, {seeds}) compared with the best without a program: "
        f"{TERMS.get(estimate.over, estimate.over)}, {estimate.terms.get(estimate.over, 0):.3f}."
        + (" More images would bring more." if estimate.still_rising else "")
    )


def at_run_time(estimate: Estimate) -> str:
    """What the host must show when the programs of an estimate are used, as a sentence; empty where it isn't known.

    Args:
        estimate: of an audit.
    """
    if estimate.must_show is None:
        return ""
    where = f"{RUNG_WORDS[estimate.rung].name}, {estimate.task}, {estimate.budget:,} images"
    shows = f"{where}: at run time the host must show {MUST_SHOW[estimate.must_show]}"
    if estimate.top_label is None:
        return f"{shows}; whoever sees the top label alone then can't read this program"
    share = f" ({100 * estimate.top_label / estimate.accuracy:.0f} % of it)" if estimate.accuracy > 0 else ""
    return f"{shows}; by the top label alone the program has {estimate.top_label:.3f} of the images right{share}"


def signed(value: float) -> str:
    """A difference with its sign and a true minus, such as "+0.360".

    Args:
        value: the difference.
    """
    return f"{value:+.3f}".replace("-", "−")


def where_from(report: AuditReport) -> str:
    """What the report is of, in one line: the battery, the version and the checksum.

    Args:
        report: the report.
    """
    grid = report.grid
    return (
        f"battery {grid.battery} (version {grid.version}), reprogram {report.version}, checksum {report.checksum}; "
        "only reports with the same checksum can be compared"
    )
