"""Table 1: counting, MNIST and CIFAR-10 on trained hosts, and on the same hosts untrained."""

from collections.abc import Callable
from functools import partial
from typing import Any

from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import (
    Block,
    Experiment,
    Picture,
    Strip,
    Table,
    baseline,
    distinct,
    model_of,
    pooled,
    task_of,
)
from reprogram.paper.published import MARK, TABLE1, TASKS
from reprogram.paper.setup import Planned, Setup

STATES = {
    "trained": "{host}",
    "untrained": "untrained(host={host!r}, seed={seed})",
    "untrained, BatchNorm conditioned": "untrained(host={host!r}, seed={seed}, batchnorm='conditioned')",
}


class Table1(Experiment):
    """The main result, with the untrained hosts of section 4.3 beside it."""

    title = "Table 1: what a frozen host can be made to do"
    question = (
        "One learned frame makes an ImageNet network count squares, read digits and tell CIFAR-10's classes. Trained "
        "hosts are far easier to reprogram than the same architectures with random weights. Later work found that "
        "random weights do better once BatchNorm's statistics are set from one batch, so both kinds are here."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """Every host in every state, on every task; `untrained` names the hosts that are tried untrained too."""
        untrained = setup.option("untrained", list(setup.hosts))
        return [
            setup.plan(
                host,
                task,
                seed,
                axis={"state": state},
                spec=STATES[state].format(host=setup.hosts[host], seed=seed),
                baselines=("map-alone", "linear-probe") if state == "trained" else (),
            )
            for task in setup.tasks
            for host in setup.hosts
            for state in STATES
            if state == "trained" or host in untrained
            for seed in setup.seeds
        ]

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """One picture of each trained host's first run on each task, and what the host says to it."""
        for row, run in self.finished(setup, book):
            if row.axis["state"] == "trained" and row.seed == min(setup.seeds):
                say(f"a picture of {row.folder.name}")
                book.fact("table1", row.folder.name, row.result["test"], partial(seen, row, run))

    def show(self, book: Book) -> list[Block]:
        """Pictures; then ours, the baselines of the same runs, and the paper's."""
        rows, facts = book.rows("table1"), book.facts("table1")
        tasks = distinct(row.task for row in rows)
        ours, beside = [], []
        for host, state in distinct((row.host, row.axis["state"]) for row in rows):
            of = {t: [r for r in rows if (r.host, r.axis["state"], r.task) == (host, state, t)] for t in tasks}
            ours.append([host, state, *(pooled(of[task]) for task in tasks)])
            if state == "trained":
                for name, text in (("map_alone", "label map alone"), ("linear_probe", "linear probe")):
                    beside.append([host, text, *(baseline(of[task], name) for task in tasks)])
        chance = ["", "chance", *(baseline([r for r in rows if r.task == task], "chance") for task in tasks)]
        published = [[host, *(f"{row[t]:.4f}" if t in row else "–" for t in TASKS)] for host, row in TABLE1.items()]
        untrained = [
            [host, f"{row['untrained mnist']:.4f}"] for host, row in TABLE1.items() if "untrained mnist" in row
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
            Table(head=["host", "weights", *tasks], rows=ours, caption="Test accuracy, 95 % interval."),
            Table(head=["host", "baseline", *tasks], rows=[*beside, chance], caption="What to hold it against."),
            Table(head=["host", *TASKS], rows=published, caption=f"The paper's table 1, trained hosts {MARK}."),
            Table(head=["host", "mnist"], rows=untrained, caption=f"The paper's untrained hosts {MARK}."),
        ]


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
    speaker = model.label_map.assignment()[answer][0]
    said = f"“{model.host.info.label(speaker)}” is read as {task.class_names[answer]}"
    truth = task.class_names[int(task.test.labels[0])]
    return {
        "picture": picture(framed.dense()[0].cpu()),
        "said": said + ("" if truth == task.class_names[answer] else f" (is {truth})"),
    }
