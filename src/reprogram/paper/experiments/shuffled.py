"""Shuffled pixels: the task shares nothing with photographs any more."""

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import AS_IN_TABLE1, Block, Experiment, Table, distinct, pooled
from reprogram.paper.published import OURS, TABLE1, THEIRS, number, published_task
from reprogram.paper.setup import Planned, Setup
from reprogram.registry import parse

CANVASES = {"as they are": "centre", "shuffled": "shuffled"}


class Shuffled(Experiment):
    """One fixed permutation of the task image's pixels."""

    title = "Shuffled pixels"
    question = (
        "If reprogramming only reused what the host knows of shapes, permuting the task image's pixels would end it. "
        "In the paper it doesn't: shuffled MNIST is learned about as well as MNIST."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """Every host and task, as it is and shuffled; counting is left out, as in the paper."""
        counting = {task for task in setup.tasks if parse(setup.task_config(task).task).name == "squares"}
        wanted = [task for task in setup.tasks if task not in counting] or list(setup.tasks)
        return [
            setup.plan(host, task, seed, axis={"pixels": name}, canvas=canvas, baselines=baselines)
            for task in wanted
            for host in setup.hosts
            for name, canvas in CANVASES.items()
            for baselines in [AS_IN_TABLE1 if canvas == "centre" else ("map-alone",)]
            for seed in setup.seeds
        ]

    def show(self, book: Book) -> list[Block]:
        """Side by side."""
        rows = book.rows("shuffled")
        table = [
            [
                OURS,
                host,
                task,
                *(pooled([r for r in rows if (r.host, r.task, r.axis["pixels"]) == (host, task, p)]) for p in CANVASES),
            ]
            for task, host in distinct((row.task, row.host) for row in rows)
        ]
        if any(published_task(row.task) == "mnist" for row in rows):
            table += [[THEIRS, host, "mnist", number(host, "mnist"), number(host, "shuffled mnist")] for host in TABLE1]
        caption = f"Test accuracy. {OURS}: with its 95 % interval. {THEIRS}: recalled, not checked."
        return [Table(head=["from", "host", "task", *CANVASES], rows=table, caption=caption)]
