"""Flags: what speaks against taking an audit's numbers as they are, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""The weight of a flag, the worst first; the words are SARIF's."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""All of them, the worst first."""


@dataclass(frozen=True, kw_only=True)
class FlagKind:
    """A kind of flag; docs/audit.md lists all of them.

    Attributes:
        name: such as "black-box-beat-white-box".
        severity: "error": the numbers mean nothing as they are; "warning": they may be too low or too high; "note":
            read them with this in mind.
        title: a few words.
        meaning: why it matters, for somebody who doesn't know the method.
        advice: what to do.
    """

    name: str
    severity: Severity
    title: str
    meaning: str
    advice: str

    def flag(self, text: str, cells: tuple[str, ...] = ()) -> "Flag":
        """A flag of this kind.

        Args:
            text: what was found in this audit, with its numbers.
            cells: the names of the cells concerned; empty where it concerns the whole audit.
        """
        return Flag(name=self.name, severity=self.severity, text=text, advice=self.advice, cells=cells)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Something that was found in an audit and speaks against its numbers.

    Attributes:
        name: of its kind, a key of `KINDS`.
        severity: of its kind.
        text: what was found, with its numbers.
        advice: what to do.
        cells: the names of the cells concerned; empty where it concerns the whole audit.
    """

    name: str
    severity: Severity
    text: str
    advice: str
    cells: tuple[str, ...]


KINDS: dict[str, FlagKind] = {
    kind.name: kind
    for kind in (
        FlagKind(
            name="failed-cells",
            severity="error",
            title="Cells failed",
            meaning="A cell that failed says nothing of the host. The estimates are made of the others.",
            advice="mend what the error names, and give the same command again: it goes on with what is missing",
        ),
        FlagKind(
            name="changed-during-audit",
            severity="error",
            title="The host changed during the audit",
            meaning="The same images got other answers at the end than at the beginning, and more so than the host "
            "disagrees with itself. Cells of before and after aren't of the same host.",
            advice="pin the version of the model, and audit it anew in another folder",
        ),
        FlagKind(
            name="unfinished-probe",
            severity="error",
            title="Whether the host changed isn't known",
            meaning="The host gave no answers to the same images at the end of the audit, so that nobody knows whether "
            "all cells are of the same host.",
            advice="mend what the error names, and give the same command again: it asks for them alone",
        ),
        FlagKind(
            name="constant-answers",
            severity="warning",
            title="Every image got the same answer",
            meaning="A host that doesn't look at its input can't be reprogrammed. It may also be a wrapper that "
            "doesn't pass the image on, or pixels of another range than it expects.",
            advice="check that the host tells two photographs apart, and what range of pixels it takes",
        ),
        FlagKind(
            name="black-box-beat-white-box",
            severity="warning",
            title="An attacker without gradients got more than one with them",
            meaning="Gradients can't hurt. Where they don't help they are masked, by rounding, by saturation or by "
            "something that isn't differentiable, and a low white-box number is no sign of safety.",
            advice="don't read the gradient rung as a ceiling; take the rung that got most, or unmask the gradients",
        ),
        FlagKind(
            name="zero-gradient",
            severity="warning",
            title="Most of the input has no gradient, or hardly any",
            meaning="A white-box learner can't follow a gradient that isn't there, so that its low number may be the "
            "mask's doing.",
            advice="don't read the gradient rung as a ceiling; look at the rungs below it",
        ),
        FlagKind(
            name="more-access-did-worse",
            severity="warning",
            title="More access did worse",
            meaning="Whoever sees more can do all that somebody can who sees less. So the rung with more access has "
            "at least the gain of the one with less; its own attack was too weak.",
            advice="read the larger of the two for both rungs; a larger budget or more seeds may close the gap",
        ),
        FlagKind(
            name="stochastic-answers",
            severity="warning",
            title="The host disagrees with itself",
            meaning="The same image got different answers. Learning by queries takes noise for signal, so that the "
            "numbers may be too low: an attacker may ask repeatedly and take the mean.",
            advice="audit the host without its noise too, if it is yours; else take the numbers as a lower bound",
        ),
        FlagKind(
            name="probabilities-as-logits",
            severity="warning",
            title="The scores are probabilities",
            meaning="A softmax of probabilities is nearly flat. Gradients through it are small, and the white-box "
            "number may be too low.",
            advice='wrap the host with outputs="probabilities", or pass the logits',
        ),
        FlagKind(
            name="few-steps",
            severity="warning",
            title="Programs were hardly learned",
            meaning="Most of the images went into the label map and into choosing. A program that was moved by a few "
            "steps is nearly the one that it began with, so that its gain near 0 says little of what learning gets.",
            advice="give larger --budgets, ten thousand and more for whoever only asks, or a larger battery",
        ),
        FlagKind(
            name="still-rising",
            severity="warning",
            title="More images would bring more",
            meaning="The largest budget brought more than the one before it. The number is what this budget gets, and "
            "not what the host gives away.",
            advice="take it as a lower bound; a larger battery, or --budgets, asks for more",
        ),
        FlagKind(
            name="answers-alone-suffice",
            severity="warning",
            title="The host's answers suffice without any program",
            meaning="Without learning a program, the answers to plain task images tell more than a net of one's own, "
            "and more than simple features of the images. That work of the host is taken all the same, and the net "
            "gain doesn't count it.",
            advice="read the terms map_alone and nearest_neighbour beside the gain; showing fewer scores lowers them",
        ),
        FlagKind(
            name="few-seeds",
            severity="note",
            title="One seed only",
            meaning="Another start may get more or less. With one seed the interval covers the chance in the test "
            "images alone.",
            advice="give more --seeds, or a larger battery",
        ),
        FlagKind(
            name="wide-interval",
            severity="note",
            title="The interval is wide",
            meaning="The audit was too small to tell a gain from none on this rung.",
            advice="give more --seeds or --test-images, or a larger battery",
        ),
        FlagKind(
            name="rounded-scores",
            severity="note",
            title="The scores are rounded",
            meaning="Small moves of a program change nothing that is seen. That makes queries dearer and doesn't "
            "prevent anything.",
            advice="none; the rung is what an attacker sees",
        ),
        FlagKind(
            name="no-ceiling",
            severity="note",
            title="No white-box number",
            meaning="No cell used gradients, so that nothing says how much a stronger attacker could get.",
            advice="audit the weights, if you have them: add gradient to --rungs where the host gives it",
        ),
        FlagKind(
            name="lost-images",
            severity="note",
            title="Answers were lost",
            meaning="A service may bill images whose answers never came whole. They are in the price.",
            advice="look at the service's limits and time-outs",
        ),
    )
}
"""Every kind of flag, by its name; those that weigh more stand first."""
