"""Baselines: what the task's data give without any host, and the host without any program."""

from collections.abc import Callable
from functools import partial
from typing import Any

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import (
    AS_IN_TABLE1,
    PROBE,
    Block,
    Experiment,
    Table,
    accuracy,
    baseline,
    chance_of,
    distinct,
    pooled,
    task_of,
)
from reprogram.paper.setup import Planned, Setup

NETS = ("fully connected", "convolutional")
PASSES, LEAST = 10, 12_800
"""Passes over the training images that end direct training, and images at the least; validation chooses among them."""


class Baselines(Experiment):
    """The paper's fully connected and convolutional nets, trained directly on the task."""

    title = "What to hold it against"
    question = (
        "Is reprogramming any good? A net trained directly on the task, on as many images as the program saw and "
        f"unlimited ({PASSES} passes over all of them, {LEAST:,} images at the least; validation chooses the moment), "
        "and the host without program: by label map alone and by linear probe."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """The runs of table 1."""
        return setup.every(baselines=AS_IN_TABLE1)

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """Direct training, once a task, budget and seed."""
        for row, run in self.finished(setup, book):
            for net in NETS:
                for images in (row.result["images_seen"], None):
                    name = fact_name(row.task, net, images, row.seed)
                    say(f"training directly: {name}")
                    book.fact("baselines", name, row.result["task_fingerprint"], partial(direct, run, net, images))

    def show(self, book: Book) -> list[Block]:
        """One row a host and task."""
        rows, facts = book.rows("baselines"), book.facts("baselines")
        table = []
        for host, task in distinct((row.host, row.task) for row in rows):
            here = [row for row in rows if (row.host, row.task) == (host, task)]
            cells = [host, task, pooled(here), baseline(here, "map_alone"), baseline(here, "linear_probe")]
            for net in NETS:
                for limited in (True, False):
                    names = {fact_name(task, net, r.result["images_seen"] if limited else None, r.seed) for r in here}
                    found = [facts[name] for name in sorted(names) if name in facts]
                    n, right = (sum(fact[key] for fact in found) for key in ("n", "correct"))
                    cells.append(accuracy(right, n, chance_of(here), len(found)) if found else "–")
            table.append(cells)
        head = ["host", "task", "reprogrammed", "label map alone", "linear probe"]
        head += [f"{net}, {budget}" for net in NETS for budget in ("same images", "unlimited")]
        return [Table(head=head, rows=table, caption=f"Test accuracy, 95 % interval. {PROBE}")]


def fact_name(task: str, net: str, images: int | None, seed: int) -> str:
    """Of what direct training reached."""
    return f"{task}, {net}, {f'{images} images' if images else 'unlimited'}, seed {seed}"


def direct(run: Planned, net: str, images: int | None) -> dict[str, Any]:
    """Train a net directly; validation chooses among ten moments."""
    from reprogram.direct import train

    task = task_of(run.config.task, run.config.data, run.config.download)
    result = train(task, net, images or max(PASSES * len(task.train), LEAST), seed=run.seed)
    return {"n": result.n, "correct": result.correct}
