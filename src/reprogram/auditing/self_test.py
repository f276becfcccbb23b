"""The audit of hosts of which the answer is known: an audit that is wrong about them isn't to be believed."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reprogram._version import __version__
from reprogram.auditing.prepare import prepare
from reprogram.auditing.report import AuditReport
from reprogram.errors import ConfigError
from reprogram.evaluation.baselines.direct_training import training_once
from reprogram.hosts._factory import load_host
from reprogram.utils.text import slug

BATTERY = "self-test"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an audit must say of a host.

    Attributes:
        gain: whether it must show a gain; None where either is right.
        flags: the flags that it must raise; of several in one text, separated by "|", any will do.
        why: what is known of the host.
    """

    gain: bool | None
    flags: tuple[str, ...] = ()
    why: str

    def wrong(self, report: AuditReport) -> list[str]:
        """What a report says that isn't so, or doesn't say; empty where it is right.

        Args:
            report: of the host.
        """
        found = report.verdict.level == "gain-shown"
        lines = []
        if self.gain is not None and found != self.gain:
            lines.append("shows a gain, and there is none" if found else "shows no gain, and there is one")
        if any(cell.state == "failed" for cell in report.cells):
            lines.append(next(cell.error for cell in report.cells if cell.state == "failed"))
        raised = {flag.name for flag in report.flags}
        lines += [f"misses the flag {flag}" for flag in self.flags if raised.isdisjoint(flag.split("|"))]
        return lines


KNOWN: dict[str, Expected] = {
    "constant": Expected(gain=False, flags=("constant-answers",), why="answers every image alike"),
    "blind": Expected(gain=False, why="sees the frame, and not the task image"),
    "random-labels": Expected(gain=False, flags=("zero-gradient",), why="labels by a hash of the pixels"),
    "linear": Expected(gain=False, why="linear in the pixels, and the task isn't"),
    "untrained": Expected(gain=False, why="random weights"),
    "hijackable": Expected(gain=True, why="does the task when the frame has the right colour"),
    "shortcut": Expected(gain=True, why="does the task when a small patch has the right colour"),
    "masked": Expected(
        gain=None,
        flags=("zero-gradient|black-box-beat-white-box",),
        why="can be hijacked, and its gradient is zero",
    ),
    "stochastic": Expected(gain=True, flags=("stochastic-answers",), why="can be hijacked, and its answers are noisy"),
    "changing": Expected(gain=None, flags=("changed-during-audit",), why="becomes another host after 400 images"),
    "probabilities": Expected(
        gain=True, flags=("probabilities-as-logits",), why="can be hijacked, and gives probabilities as scores"
    ),
}
"""What an audit must say of each kind of the host source `known-answer`."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """The audit of one known host.

    Attributes:
        host: its spec.
        kind: the name of what is expected.
        seed: of host, task order and learning.
        why: what is known of it.
        level: that of the verdict.
        gain: the verdict's gain; None where there is none.
        interval: of the gain.
        flags: that were raised.
        wrong: what the audit got wrong; empty where it is right.
    """

    host: str
    kind: str
    seed: int
    why: str
    level: str
    gain: float | None
    interval: tuple[float, float] | None
    flags: tuple[str, ...]
    wrong: tuple[str, ...]


def self_test(
    *,
    seeds: Sequence[int] = (0,),
    out: str | Path = "runs/self-test",
    hosts: Mapping[str, Expected] | None = None,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> list[Case]:
    """Audit hosts of which the answer is known, each with the battery `self-test` in a folder of its own.

    Args:
        seeds: each makes other hosts, and other runs.
        out: the folder of the audits; the same call goes on with what is missing.
        hosts: what is expected, by kind of the host source `known-answer`, or by a host's spec; by default `KNOWN`.
        say: called with a line on each audit.
        options: of `reprogram.auditing.prepare.prepare` that are others than the battery's, such as rungs or budgets.

    Returns:
        A case for each seed and host.

    Raises:
        ConfigError: a seed is none, or there are no seeds.
    """
    if not seeds:
        raise ConfigError("seeds: is empty; a self-test needs at least one")
    cases = []
    for seed in seeds:
        with training_once(), _expected_warnings():
            for kind, expected in (KNOWN if hosts is None else hosts).items():
                spec = f"known-answer:{kind}?seed={seed}" if kind in KNOWN else kind
                host = load_host(spec)  # One for all cells, as a service is: what changes in one is seen in the next.
                folder = Path(out) / f"{slug(kind)[-60:].lstrip('-')}-s{seed}"
                report = prepare(host, battery=BATTERY, seeds=(seed,), out=folder, device="cpu", **options).run()
                cases.append(_case(report, expected, spec, kind, seed))
                say(line(cases[-1]))
    return cases


def _case(report: AuditReport, expected: Expected, spec: str, kind: str, seed: int) -> Case:
    return Case(
        host=spec,
        kind=kind,
        seed=seed,
        why=expected.why,
        level=report.verdict.level,
        gain=report.verdict.gain,
        interval=report.verdict.interval,
        flags=tuple(flag.name for flag in report.flags),
        wrong=tuple(expected.wrong(report)),
    )


def line(case: Case) -> str:
    """A case as a line.

    Args:
        case: the case.
    """
    gain = "" if case.gain is None else f", {case.gain:+.2f}"
    return f"{case.host}: {case.level}{gain}, {'; '.join(case.wrong) or 'right'}"


def to_json(cases: Sequence[Case], command: str) -> dict[str, Any]:
    """The cases as JSON values, with how many are right for each kind.

    Args:
        cases: of a self-test.
        command: that made them.
    """
    kinds = {
        kind: {"right": sum(not c.wrong for c in cases if c.kind == kind), "of": sum(c.kind == kind for c in cases)}
        for kind in dict.fromkeys(case.kind for case in cases)
    }
    return {
        "command": command,
        "version": __version__,
        "battery": BATTERY,
        "right": sum(not case.wrong for case in cases),
        "of": len(cases),
        "kinds": kinds,
        "cases": [asdict(case) for case in cases],
    }


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    """A context without the warnings that such hosts give: that they are odd is known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*two calls gave different scores", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*the scores of an image depend", category=UserWarning)
        yield
