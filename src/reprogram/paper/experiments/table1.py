"""Table 1: counting, MNIST and CIFAR-10 on trained hosts, and on the same hosts untrained."""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from reprogram.errors import ReprogramError
from reprogram.model import host_source
from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import (
    AS_IN_TABLE1,
    PROBE,
    Block,
    Experiment,
    HostNames,
    Picture,
    Strip,
    Table,
    baseline,
    distinct,
    model_of,
    pooled,
    task_of,
)
from reprogram.paper.published import MARK, OURS, TABLE1, TASKS, THEIRS, number, published_task
from reprogram.paper.setup import Planned, Setup
from reprogram.registry import parse

GIVEN, RANDOM = "as given", "random weights"
"""What a host's weights are called that is used as its spec builds it."""
CONDITIONED = "untrained, BatchNorm conditioned"
UNTRAINED = {
    "untrained": "untrained(host={host!r}, seed={seed})",
    CONDITIONED: "untrained(host={host!r}, seed={seed}, batchnorm='conditioned')",
}
BESIDE = "What to hold it against, for the hosts as given."
CAPTION = (
    f"Test accuracy. {OURS}: with its 95 % interval. {THEIRS}: table 1 of Elsayed, Goodfellow and Sohl-Dickstein, "
    f"2018; {MARK} marks what was recalled and not checked."
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
    options: ClassVar = {"untrained": HostNames}

    def plan(self, setup: Setup) -> list[Planned]:
        """Every host in every state, on every task; `untrained` names the hosts that are tried untrained too."""
        return [
            setup.plan(
                host, task, seed, axis={"state": state}, spec=twin.format(host=spec, seed=seed), baselines=baselines
            )
            for task in setup.tasks
            for host, spec in setup.hosts.items()
            for state, twin, baselines in _states(spec, host in setup.option("untrained", list(setup.hosts)))
            for seed in setup.seeds
        ]

    def left_out(self, setup: Setup) -> list[str]:
        """Hosts without a BatchNorm that could be conditioned."""
        tried = setup.option("untrained", list(setup.hosts))
        specs = [spec for host, spec in setup.hosts.items() if host in tried and parse(spec).name != "untrained"]
        return [f"{spec}: has no BatchNorm, left out: {CONDITIONED}" for spec in specs if not has_batchnorm(spec)]

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """One picture of each host's first run on each task, as it is given, and what it says to it."""
        for row, run in self.finished(setup, book):
            if _is_given(row) and row.seed == min(setup.seeds):
                say(f"a picture of {row.folder.name}")
                book.fact("table1", row.folder.name, row.result["test"], partial(seen, row, run))

    def show(self, book: Book) -> list[Block]:
        """Pictures; then ours beside the paper's, a column a task; then the baselines of the same runs."""
        rows, facts = book.rows("table1"), book.facts("table1")
        tasks = distinct(row.task for row in rows)
        beside = []
        for host in distinct(row.host for row in rows):
            given = {t: [r for r in rows if (r.host, r.task) == (host, t) and _is_given(r)] for t in tasks}
            for name, text in (("map_alone", "label map alone"), ("linear_probe", "linear probe")):
                beside.append([host, text, *(baseline(given[task], name) for task in tasks)])
        without = [
            ["", text, *(baseline([r for r in rows if r.task == task], name) for task in tasks)]
            for name, text in (("chance", "chance"), ("majority", "always the most frequent class"))
        ]
        strips: list[Block] = []
        for task in tasks:
            shown = [
                (row.host, facts[row.folder.name]) for row in rows if row.task == task and row.folder.name in facts
            ]
            pictures = [Picture(source=f["picture"], caption=f"{host}: {f['said']}") for host, f in shown]
            if pictures:
                strips.append(Strip(pictures=pictures, caption=f"{task}: what each host sees, and what it says"))
        return [
            *strips,
            _comparison(rows, tasks),
            Table(head=["host", "baseline", *tasks], rows=[*beside, *without], caption=f"{BESIDE} {PROBE}"),
        ]


def _states(spec: str, untrained_too: bool) -> list[tuple[str, str, tuple[str, ...]]]:
    """What a host's weights are tried as: the name, the spec with places for host and seed, the baselines."""
    given = RANDOM if host_source(spec).has_random_weights() else GIVEN
    states: list[tuple[str, str, tuple[str, ...]]] = [(given, "{host}", AS_IN_TABLE1)]
    if untrained_too and parse(spec).name != "untrained":
        states += [(s, twin, ()) for s, twin in UNTRAINED.items() if s != CONDITIONED or has_batchnorm(spec)]
    return states


@functools.cache
def has_batchnorm(spec: str) -> bool:
    """Whether a host has BatchNorm to condition; taken for granted where it can't be built, as its run will say so."""
    from reprogram.hosts.untrained import batchnorms

    try:
        return bool(batchnorms(host_source(spec).untrained(0)))
    except ReprogramError:
        return True


def _is_given(row: Row) -> bool:
    """Whether the host is used as its spec builds it."""
    return row.axis["state"] not in UNTRAINED


def _comparison(rows: Sequence[Row], tasks: Sequence[str]) -> Table:
    """Ours and the paper's: the same columns, and a host's rows together where both have it."""
    theirs = {task: published_task(task) for task in tasks}
    known = any(theirs.values())
    columns = {**theirs, **{task: task for task in TASKS if known and task not in theirs.values()}}
    paper = {host: _published(host, list(columns.values())) for host in TABLE1} if known else {}
    table = []
    for host in distinct(row.host for row in rows):
        here = [row for row in rows if row.host == host]
        for state in distinct(row.axis["state"] for row in here):
            of = [row for row in here if row.axis["state"] == state]
            cells = (pooled([row for row in of if row.task == task]) for task in columns)
            table.append([OURS, host, state, *cells])
        table += paper.pop(host, [])
    table += [row for published in paper.values() for row in published]
    head = [task if task == their or not their else f"{task} (the paper's: {their})" for task, their in columns.items()]
    return Table(head=["from", "host", "weights", *head], rows=table, caption=CAPTION)


def _published(host: str, tasks: Sequence[str | None]) -> list[list[str]]:
    """The paper's rows of a host, trained and untrained."""
    kinds = (("trained", ""), ("untrained", "untrained "))
    found = [[kind, *(number(host, prefix + task if task else "") for task in tasks)] for kind, prefix in kinds]
    return [[THEIRS, host, *cells] for cells in found if set(cells[1:]) != {"–"}]


def seen(row: Row, run: Planned) -> dict[str, Any]:
    """The first test image in its program, and how the host's answer is read."""
    import torch

    from reprogram.report.examples import picture

    model = model_of(row, run)
    task = task_of(run.config.task, run.config.data, run.config.download)
    with torch.no_grad():
        framed = model.program(model.canvas(task.test.images[:1].to(model.canvas.frame.device)))
        scores = model.host(framed)
        answer = int(model.label_map(scores).argmax())
    speakers = model.label_map.assignment()[answer]
    said = f"read as {task.class_names[answer]}"
    if len(speakers) == 1:
        said = f"of the labels that count “{model.host.info.label(speakers[0])}” has the highest score: {said}"
    truth = task.class_names[int(task.test.labels[0])]
    return {
        "picture": picture(framed.dense()[0].cpu()),
        "said": said + ("" if truth == task.class_names[answer] else f" (is {truth})"),
    }
