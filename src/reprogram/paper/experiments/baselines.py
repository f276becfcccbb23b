"""Baselines: nets trained directly on the task's data, without any host, and the host without any program."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from reprogram.paper.experiments.base import AS_IN_TABLE1, PROBE, Block, Experiment, Table
from reprogram.paper.loading import task_of
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.store import ResultStore, Row
from reprogram.paper.tables import accuracy, baseline, by_host_and_task, chance_of, pooled

NETS = ("fully connected", "convolutional")
PASSES, LEAST = 10, 12_800
"""Unlimited direct training: passes over the training images, and images seen at the least."""


class Baselines(Experiment):
    """The paper's fully connected and convolutional nets, trained directly on the task."""

    title = "What to hold it against"
    question = (
        "Is reprogramming any good? A net trained directly on the task, on as many images as the program saw and "
        f"unlimited ({PASSES} passes over all of them, {LEAST:,} images at the least; validation chooses the moment), "
        "and the host without program: by label map alone and by linear probe."
    )

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """The runs of table 1."""
        return plan.every(baselines=AS_IN_TABLE1)

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Train the nets directly: once for each task's images, budget and seed."""
        measured = store.measured("baselines")
        for row, run in self.finished(plan, store):
            for net in NETS:
                for images in (row.result["images_seen"], None):
                    name = _name_among(measured, row, net, images)
                    say(f"training directly: {name}")
                    train = partial(_train_directly, run, net, images)
                    store.measurement("baselines", name, row.result["task_fingerprint"], train)

    def show(self, store: ResultStore) -> list[Block]:
        """A table with a row for each host and task."""
        measured = store.measured("baselines")
        table = []
        for host, task, rows in by_host_and_task(store.rows("baselines")):
            cells = [host, task, pooled(rows), baseline(rows, "map_alone"), baseline(rows, "linear_probe")]
            for net in NETS:
                for limited in (True, False):
                    names = {_name_among(measured, r, net, r.result["images_seen"] if limited else None) for r in rows}
                    results = [measured[name][1] for name in sorted(names) if name in measured]
                    n, right = (sum(result[key] for result in results) for key in ("n", "correct"))
                    cells.append(accuracy(right, n, chance_of(rows), len(results)) if results else "–")
            table.append(cells)
        head = ["host", "task", "reprogrammed", "label map alone", "linear probe"]
        head += [f"{net}, {budget}" for net in NETS for budget in ("same images", "unlimited")]
        return [Table(head=head, rows=table, caption=f"Test accuracy, 95 % interval. {PROBE}")]


def _name_among(measured: Mapping[str, tuple[Any, Any]], row: Row, net: str, images: int | None) -> str:
    """The name of a direct training's result in the store; `images` is None without a limit.

    It tells apart the images of a task that each host gets in a size of its own. Earlier versions left that out: a name
    of theirs stays where its measurement was made of the run's images.
    """
    fingerprint = row.result["task_fingerprint"]
    former = f"{row.task}, {net}, {f'{images} images' if images else 'unlimited'}, seed {row.seed}"
    return former if measured.get(former, ("",))[0] == fingerprint else f"{former}, data {fingerprint[:8]}"


def _train_directly(run: Planned, net: str, images: int | None) -> dict[str, Any]:
    """Train a net on the run's task; the validation accuracy at ten steps chooses among them."""
    from reprogram.evaluation.from_scratch import train

    task = task_of(run.config)
    result = train(task, net, images or max(PASSES * len(task.train), LEAST), seed=run.seed)
    return {"n": result.n, "correct": result.correct}
