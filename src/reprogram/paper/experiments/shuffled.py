"""Shuffled pixels: a task whose images have nothing in common with photographs."""

from reprogram.paper.experiments.base import AS_IN_TABLE1, Block, Experiment, Table
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.published import OURS, TABLE1, THEIRS, number, published_task
from reprogram.paper.store import ResultStore
from reprogram.paper.tables import distinct, pooled
from reprogram.utils.spec import parse

CANVASES = {"as they are": "centre", "shuffled": "shuffled"}
"""The canvases on which a task image's pixels are so."""


class Shuffled(Experiment):
    """One fixed permutation of the task image's pixels."""

    title = "Shuffled pixels"
    question = (
        "If reprogramming only reused what the host knows of shapes, permuting the task image's pixels would end it. "
        "In the paper it doesn't: shuffled MNIST is learned about as well as MNIST."
    )

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs on every host and task, with the pixels as they are and shuffled; without counting, as in the paper."""
        counting = {task for task in plan.tasks if parse(plan.task_config(task).task).name == "squares"}
        tasks = [task for task in plan.tasks if task not in counting] or list(plan.tasks)
        return [
            plan.planned(
                host, task, seed, axis={"pixels": name}, canvas=plan.centred(task, canvas), baselines=baselines
            )
            for task in tasks
            for host in plan.hosts
            for name, canvas in CANVASES.items()
            for baselines in [AS_IN_TABLE1 if canvas == "centre" else ("map-alone",)]
            for seed in plan.seeds
        ]

    def show(self, store: ResultStore) -> list[Block]:
        """A table with a row for each host and task: the accuracies side by side."""
        rows = store.rows("shuffled")
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
