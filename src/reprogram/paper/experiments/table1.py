"""Table 1: counting, MNIST and CIFAR-10 on trained hosts, and on the same hosts untrained."""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from reprogram.errors import ReprogramError
from reprogram.hosts._factory import host_source
from reprogram.paper.experiments.base import AS_IN_TABLE1, PROBE, Block, Experiment, HostNames, Picture, Strip, Table
from reprogram.paper.loading import model_of, task_of
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.published import MARK, OURS, TABLE1, TASKS, THEIRS, number, published_task
from reprogram.paper.store import ResultStore, Row
from reprogram.paper.tables import WORTH, baseline, distinct, pooled, top_label
from reprogram.utils.spec import parse

GIVEN, RANDOM = "as given", "random weights"
"""The two names of the weights of a host that is used as its spec builds it: trained ones, or random ones."""
CONDITIONED = "untrained, BatchNorm conditioned"
UNTRAINED = {
    "untrained": "untrained(host={host!r}, seed={seed})",
    CONDITIONED: "untrained(host={host!r}, seed={seed}, batchnorm='conditioned')",
}
BESIDE = "What to hold it against, for the hosts as given."
CAPTION = (
    f"Test accuracy. {OURS}: with its 95 % interval; the list of the runs says how many images each saw. {WORTH} "
    f"{THEIRS}: table 1 of Elsayed, Goodfellow and Sohl-Dickstein, 2018; {MARK} marks what was recalled, not checked."
)


class Table1(Experiment):
    """The main result, with the untrained hosts beside it."""

    title = "Table 1: what a frozen host can be made to do"
    question = (
        "One learned frame makes an ImageNet network count squares, read digits and tell CIFAR-10's classes. The paper "
        "finds trained hosts far easier to reprogram than the same architectures with random weights, on MNIST, but "
        "for one host of six. Later work (Englert and Lazic, 2022) sets BatchNorm's statistics of random weights from "
        "one batch first, so both kinds are here."
    )
    options: ClassVar = {"untrained": HostNames, "untrained_images": int}

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs on every host with all kinds of weights, on every task.

        `untrained` names the hosts to run untrained too, `untrained_images` is the budget of these runs.
        """
        images = plan.option("untrained_images", 0)
        budget = {"images": images} if images else {}
        return [
            plan.planned(
                host,
                task,
                seed,
                axis={"state": state},
                spec=twin.format(host=spec, seed=seed),
                baselines=baselines,
                **(budget if state in UNTRAINED else {}),
            )
            for task in plan.tasks
            for host, spec in plan.hosts.items()
            for state, twin, baselines in _states(spec, host in plan.option("untrained", list(plan.hosts)))
            for seed in plan.seeds
        ]

    def left_out(self, plan: ExperimentPlan) -> list[str]:
        """A line for each host without a BatchNorm that could be conditioned."""
        names = plan.option("untrained", list(plan.hosts))
        specs = [spec for host, spec in plan.hosts.items() if host in names and parse(spec).name != "untrained"]
        return [f"{spec}: has no BatchNorm, left out: {CONDITIONED}" for spec in specs if not _has_batchnorm(spec)]

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Store a picture and the host's answer to it, from each given host's first run on each task."""
        for row, run in self.finished(plan, store):
            if _is_given(row) and row.seed == min(plan.seeds):
                say(f"a picture of {row.folder.name}")
                store.measurement("table1", row.folder.name, row.result["test"], partial(_first_answer, row, run))

    def show(self, store: ResultStore) -> list[Block]:
        """Pictures, a table of our accuracies beside the paper's, and a table of the baselines of the same runs."""
        rows, facts = store.rows("table1"), store.facts("table1")
        tasks = distinct(row.task for row in rows)
        by_host = []
        for host in distinct(row.host for row in rows):
            by_task = {t: [r for r in rows if (r.host, r.task) == (host, t) and _is_given(r)] for t in tasks}
            by_host.append([host, "the program, by the top label alone", *(top_label(by_task[task]) for task in tasks)])
            for name, text in (("map_alone", "label map alone"), ("linear_probe", "linear probe")):
                by_host.append([host, text, *(baseline(by_task[task], name) for task in tasks)])
        by_name = [
            ["", text, *(baseline([r for r in rows if r.task == task], name) for task in tasks)]
            for name, text in (("chance", "chance"), ("majority", "always the most frequent class"))
        ]
        strips: list[Block] = []
        for task in tasks:
            answers = [(row, facts[row.folder.name]) for row in rows if row.task == task and row.folder.name in facts]
            pictures = [
                Picture(source=fact["picture"], caption=f"{row.host}: {fact['said']}. Test accuracy {pooled([row])}")
                for row, fact in answers
            ]
            if pictures:
                strips.append(Strip(pictures=pictures, caption=f"{task}: what each host sees, and what it says"))
        return [
            *strips,
            _comparison(rows, tasks),
            Table(head=["host", "baseline", *tasks], rows=[*by_host, *by_name], caption=f"{BESIDE} {PROBE}"),
        ]


def _states(spec: str, untrained_too: bool) -> list[tuple[str, str, tuple[str, ...]]]:
    """A host's kinds of weights: the name, the spec as a template of `host` and `seed`, the baselines of its runs."""
    state = RANDOM if host_source(spec).has_random_weights() else GIVEN
    states: list[tuple[str, str, tuple[str, ...]]] = [(state, "{host}", AS_IN_TABLE1)]
    if untrained_too and parse(spec).name != "untrained":
        twins = [(s, twin) for s, twin in UNTRAINED.items() if s != CONDITIONED or _has_batchnorm(spec)]
        states += [(s, twin, ("map-alone",)) for s, twin in twins]
    return states


@functools.cache
def _has_batchnorm(spec: str) -> bool:
    """Whether a host has BatchNorm to condition; true where it can't be built, as its run will fail with the reason."""
    import torch

    from reprogram.hosts.untrained import batchnorms

    try:
        with torch.device("meta"):  # Shapes alone: no weight is drawn, and none takes memory.
            return bool(batchnorms(host_source(spec).untrained(0)))
    except ReprogramError:
        return True


def _is_given(row: Row) -> bool:
    """Whether the host is used as its spec builds it."""
    return row.axis["state"] not in UNTRAINED


def _comparison(rows: Sequence[Row], tasks: Sequence[str]) -> Table:
    """Our accuracies and the paper's in the same columns, with a host's rows together where both have it."""
    originals = {task: published_task(task) for task in tasks}
    has_original = any(originals.values())
    columns = {**originals, **{task: task for task in TASKS if has_original and task not in originals.values()}}
    paper = {host: _published(host, list(columns.values())) for host in TABLE1} if has_original else {}
    table = []
    for host in distinct(row.host for row in rows):
        on_host = [row for row in rows if row.host == host]
        for state in distinct(row.axis["state"] for row in on_host):
            same = [row for row in on_host if row.axis["state"] == state]
            cells = (pooled([row for row in same if row.task == task]) for task in columns)
            table.append([OURS, host, state, *cells])
        table += paper.pop(host, [])
    table += [row for published in paper.values() for row in published]
    head = [t if t == original or not original else f"{t} (the paper's: {original})" for t, original in columns.items()]
    return Table(head=["from", "host", "weights", *head], rows=table, caption=CAPTION)


def _published(host: str, tasks: Sequence[str | None]) -> list[list[str]]:
    """The paper's rows of a host, trained and untrained; without those that have no number."""
    kinds = (("trained", ""), ("untrained", "untrained "))
    rows = [[kind, *(number(host, prefix + task if task else "") for task in tasks)] for kind, prefix in kinds]
    return [[THEIRS, host, *cells] for cells in rows if set(cells[1:]) != {"–"}]


def _first_answer(row: Row, run: Planned) -> dict[str, Any]:
    """A picture of the first test image with the program, and a sentence on the host's answer to it."""
    import torch

    from reprogram.report.examples import picture

    model = model_of(row, run)
    task = task_of(run.config)
    with torch.no_grad():
        framed = model.program(model.canvas(task.test.images[:1].to(model.canvas.frame.device)))
        scores = model.host(framed)
        answer = int(model.label_map(scores).argmax())
    host_labels = model.label_map.assignment()[answer]
    text = f"read as {task.class_names[answer]}"
    if len(host_labels) == 1:
        text = f"of the labels that count “{model.host.info.label(host_labels[0])}” has the highest score: {text}"
    truth = task.class_names[int(task.test.labels[0])]
    return {
        "picture": picture(framed.dense()[0].cpu()),
        "said": text + ("" if truth == task.class_names[answer] else f" (is {truth})"),
    }
