"""Shuffled pixels: the task shares nothing with photographs any more."""

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import Block, Experiment, Table, distinct, pooled
from reprogram.paper.published import MARK, TABLE1
from reprogram.paper.setup import Planned, Setup

CANVASES = {"as they are": "centre", "shuffled": "shuffled"}


class Shuffled(Experiment):
    """Section 4.4: one fixed permutation of the task image's pixels."""

    title = "Shuffled pixels"
    question = (
        "If reprogramming only reused what the host knows of shapes, permuting the task image's pixels would end it. "
        "In the paper it doesn't: shuffled MNIST is learned about as well as MNIST."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """Every host and task, as it is and shuffled; counting is left out, as in the paper."""
        wanted = [task for task in setup.tasks if task != "squares"] or list(setup.tasks)
        return [
            setup.plan(host, task, seed, axis={"pixels": name}, canvas=canvas, baselines=baselines)
            for task in wanted
            for host in setup.hosts
            for name, canvas in CANVASES.items()
            for baselines in [("map-alone", "linear-probe") if canvas == "centre" else ("map-alone",)]
            for seed in setup.seeds
        ]

    def show(self, book: Book) -> list[Block]:
        """Side by side."""
        rows = book.rows("shuffled")
        table = [
            [
                host,
                task,
                *(pooled([r for r in rows if (r.host, r.task, r.axis["pixels"]) == (host, task, p)]) for p in CANVASES),
            ]
            for task, host in distinct((row.task, row.host) for row in rows)
        ]
        published = [
            [host, f"{row['mnist']:.4f}", f"{row['shuffled mnist']:.4f}"]
            for host, row in TABLE1.items()
            if "shuffled mnist" in row
        ]
        return [
            Table(head=["host", "task", *CANVASES], rows=table, caption="Test accuracy, 95 % interval."),
            Table(head=["host", "mnist", "shuffled mnist"], rows=published, caption=f"The paper's {MARK}."),
        ]
