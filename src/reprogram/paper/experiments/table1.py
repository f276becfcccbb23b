"""Table 1: counting, MNIST and CIFAR-10 on trained hosts, and on the same hosts untrained."""

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import Block, Experiment, Table, baseline, distinct, pooled
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
        """Every host in every state, on every task."""
        states = setup.option("states", list(STATES))
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
            for state in states
            for seed in setup.seeds
        ]

    def show(self, book: Book) -> list[Block]:
        """Ours, the baselines of the same runs, and the paper's."""
        rows = book.rows("table1")
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
        return [
            Table(head=["host", "weights", *tasks], rows=ours, caption="Test accuracy, 95 % interval."),
            Table(head=["host", "baseline", *tasks], rows=[*beside, chance], caption="What to hold it against."),
            Table(head=["host", *TASKS], rows=published, caption=f"The paper's table 1, trained hosts {MARK}."),
            Table(head=["host", "mnist"], rows=untrained, caption=f"The paper's untrained hosts {MARK}."),
        ]
