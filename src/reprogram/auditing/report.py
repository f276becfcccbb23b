"""The report of an audit, as `audit.json` holds it: typed, with a schema, and sealed by a digest.

`auditing/schema.json` is the JSON schema of these classes; `docs/audit.md` explains every number.
"""

from dataclasses import dataclass
from typing import Literal

from reprogram.auditing.flags import Flag
from reprogram.auditing.subject import AuditedHost, Grid, Rung
from reprogram.utils.text import html_rows, html_table

SCHEMA = 1
"""The version of the report's structure; another one isn't read."""

Interval = tuple[float, float]
"""The ends of a 95 % interval, the lower one first."""


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell: one run on one rung, task, budget and seed.

    Attributes:
        name: of the cell and of its run folder.
        folder: of the run, relative to the report; empty where there is none.
        rung: the rung of access.
        task: the task's short name.
        budget: images that the host might be asked for while the program was learned.
        seed: of the run.
        state: "finished", or "failed".
        error: why it failed, in one line; empty where it didn't.
        accuracy: on the test images; None where the cell failed.
        n: test images.
        interval: Wilson's 95 % interval of the accuracy.
        validation: the accuracy that the program was chosen by.
        terms: accuracies that need no program, by name with underscores: chance, majority, map_alone,
            nearest_neighbour, direct_training, simple_features (which earlier reports lack).
        terms_from: the cells in whose run folders the terms were measured, by the terms' names; chance and majority
            are in every folder.
        over: the best of them, of which `gain` is counted.
        gain: accuracy − that of `over`.
        gain_interval: 95 %, over test images alone, paired where both classify the same images.
        queries: images that the host was asked for while the program was learned.
        images: of the whole cell, test and baselines included.
        lost: images whose answers never came whole, and which a service may bill.
        seconds: of learning.
        program: the learned program's file, relative to the report; empty where there is none.
        must_show: the least that the host must show when the program is used, whatever was seen while it was learned:
            "top_label", "map_labels" for the scores of the map's labels, or "all_scores"; None where it isn't known.
        top_label: the accuracy by the host's top label alone, where the label map can be read by it: each class has one
            label of its own, or the map reads nothing else; None where it can't.
        steps: that the program was moved by; None where it isn't known, as in earlier reports.
    """

    name: str
    folder: str
    rung: Rung
    task: str
    budget: int
    seed: int
    state: Literal["finished", "failed"]
    error: str
    accuracy: float | None
    n: int
    interval: Interval | None
    validation: float | None
    terms: dict[str, float]
    terms_from: dict[str, str]
    over: str
    gain: float | None
    gain_interval: Interval | None
    queries: int
    images: int
    lost: int
    seconds: float
    program: str
    must_show: Literal["top_label", "map_labels", "all_scores"] | None = None
    top_label: float | None = None
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Translation:
    """What an estimate costs an attacker.

    Attributes:
        images: that the host is asked for until the program is learned, the mean over the seeds.
        seconds: that they take at the stated rate; None without a rate.
        cost: that they cost at the stated price, in its unit; None without a price.
        text: the sentence, such as "squares at .90 costs 41,000 images, 46 minutes at 15 a second, 49.20 at 1.20 a
            thousand".
    """

    images: int
    seconds: float | None
    cost: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one rung gives away of one task with one budget, over the seeds.

    Attributes:
        rung: the rung of access.
        task: the task's short name.
        budget: images that the host may be asked for while a program is learned.
        seeds: of the finished cells.
        n: different test images.
        accuracy: the mean over the seeds.
        accuracy_interval: 95 %, over test images and seeds.
        terms: the mean of each term over the seeds, as in `CellResult`.
        over: the term with the largest mean, of which the gain is counted.
        gain: the net hijack gain, accuracy − that of `over`.
        interval: 95 % of the gain, over test images and seeds; with one seed over test images alone.
        ceiling_share: the gain as a part of the white-box gain on the task with the largest budget; None where there is
            no white-box estimate, or it shows no gain.
        still_rising: whether this budget brought more than the next smaller one: then this is a lower bound only; None
            where there is no smaller budget.
        translation: its price.
        cells: the names of the finished cells.
        must_show: the least that the host must show when the programs are used, the most of all cells; None where it
            isn't known.
        top_label: the mean accuracy of somebody who sees the host's top label alone when the programs are used; None
            where a program can't be read by it.
    """

    rung: Rung
    task: str
    budget: int
    seeds: tuple[int, ...]
    n: int
    accuracy: float
    accuracy_interval: Interval
    terms: dict[str, float]
    over: str
    gain: float
    interval: Interval
    ceiling_share: float | None
    still_rising: bool | None
    translation: Translation
    cells: tuple[str, ...]
    must_show: Literal["top_label", "map_labels", "all_scores"] | None = None
    top_label: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer.

    Attributes:
        level: "gain-shown" where the lower end of an interval is above 0.02; "none-shown" where no upper end is;
            "gain-possible" otherwise; "unknown" where there is no estimate.
        text: a few sentences.
        rung: of the estimate that the answer stands on: the one with the largest lower end where a gain is shown, else
            the one with the largest upper end. None where there is none, as for the fields below.
        task: its task.
        budget: its budget.
        gain: its gain.
        interval: of the gain.
        lower_bound_only: whether a larger budget would get more, as far as this audit shows.
    """

    level: Literal["gain-shown", "gain-possible", "none-shown", "unknown"]
    text: str
    rung: Rung | None
    task: str | None
    budget: int | None
    gain: float | None
    interval: Interval | None
    lower_bound_only: bool


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a few questions beside the cells found out about the host.

    Attributes:
        images: images in each pass.
        passes: how often they were asked: twice at the start, once at the end.
        asked: images of all passes together, and of the pictures of answers without a program.
        disagreement: the part of the images to which the two passes at the start gave different top labels.
        largest_difference: the largest difference of a score between these two passes.
        drift: the part of the images to which the pass at the end gave another top label than the first; None where
            there was no such pass.
        decimals: the most decimals that the numbers have that it shows; None for all, or where it shows none.
        looks_normalised: whether each image's numbers are probabilities: not negative, and 1 in all.
        labels_used: different top labels.
        constant: whether every image got the same numbers.
        zero_gradient: the part of the input's numbers whose gradient is 0 or next to it, mean over the images; None
            where there is no gradient.
        gradient_size: the size of the average input gradient, as the sum of its absolute numbers; None likewise.
        gradient_alignment: the length of the average input gradient over the average length, in 0 to 1; None likewise.
        drift_difference: the largest difference of a probability between the first pass and the one at the end; None
            where there was none, or in earlier reports.
        error: why the pass at the end has no answers; empty where it has.
    """

    images: int
    passes: int
    asked: int
    disagreement: float
    largest_difference: float
    drift: float | None
    decimals: int | None
    looks_normalised: bool
    labels_used: int
    constant: bool
    zero_gradient: float | None
    gradient_size: float | None
    gradient_alignment: float | None
    drift_difference: float | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What the audit itself asked of the host, all cells and probes together.

    Attributes:
        images: that were answered.
        lost: whose answers never came whole.
        seconds: of learning, all cells together.
        cost: of all images at the stated price; None without a price.
        beside: images of `images` that no cell and no pass counts: those that a function is asked for each time that it
            is loaded, those that a killed process asked and another one asked again, and those of failed cells. Some
            may be lost, and not answered.
    """

    images: int
    lost: int
    seconds: float
    cost: float | None
    beside: int = 0


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """The report of an audit.

    Attributes:
        schema: the version of this structure.
        version: of reprogram.
        began: when the audit began, ISO 8601 in UTC.
        ended: when the report was made.
        command: that made it.
        limits: what the audit can't show; sentences that are read first.
        verdict: the answer.
        host: the host.
        grid: what was run.
        checksum: of battery, tasks, budgets, seeds, attacks and version: reports with the same one may be compared.
        rate: images a second of the stated rate limit; None without one.
        price: of 1,000 images, in any unit; None without one.
        estimates: for each rung, task and budget, in this order.
        cells: the cells behind them.
        flags: what speaks against taking the numbers as they are, the worst first.
        probe: what was asked beside; None where the host couldn't be asked.
        bill: what the audit asked.
        digest: SHA-256 of everything else, by which an altered report is known.
    """

    schema: int
    version: str
    began: str
    ended: str
    command: str
    limits: tuple[str, ...]
    verdict: Verdict
    host: AuditedHost
    grid: Grid
    checksum: str
    rate: float | None
    price: float | None
    estimates: tuple[Estimate, ...]
    cells: tuple[CellResult, ...]
    flags: tuple[Flag, ...]
    probe: Probe | None
    bill: Bill
    digest: str

    def _repr_html_(self) -> str:
        """The verdict, the estimates and the flags for a notebook; `report.html` in the audit's folder has the rest."""
        facts = {
            "host": self.host.id,
            "verdict": self.verdict.text,
            "read first": self.limits[0] if self.limits else "",
        }
        intervals = [f"{e.interval[0]:+.3f} to {e.interval[1]:+.3f}" for e in self.estimates]
        rows = [
            (e.rung, e.task, f"{e.budget:,}", f"{e.accuracy:.3f}", f"{e.gain:+.3f}", interval)
            for e, interval in zip(self.estimates, intervals, strict=True)
        ]
        table = html_rows(("rung", "task", "images", "accuracy", "net gain", "95 % interval"), rows)
        flags = html_rows(("severity", "flag", "what was found"), [(f.severity, f.name, f.text) for f in self.flags])
        return html_table(facts) + table + (flags if self.flags else "")
