"""The linear host: it can't be reprogrammed; and the least non-linear one with which it begins."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from reprogram.errors import DataError
from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import (
    Block,
    Experiment,
    Table,
    accuracy,
    baseline,
    distinct,
    model_of,
    pooled,
    task_of,
)
from reprogram.paper.plots import bars
from reprogram.paper.setup import Planned, Setup

SLOPES = (1.0, 0.9, 0.5, 0.0)


class LinearHost(Experiment):
    """Section 3.1's remark on linear models, as a theorem and as a run."""

    title = "A linear host can't be reprogrammed"
    question = (
        "A linear host's scores are A(X̃ + P) + b = (A X̃ + b) + A P: the program adds the same A P to the scores of "
        "every image. So whatever the program, the answers are those of the bare host with a constant shift of its "
        "scores, and the best program is the best shift. A host with one hidden layer of leaky ReLUs, slope s for "
        "negative numbers, is linear for s = 1; the further s is from 1, the more a program can do."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """A linear host, and hosts that are less and less so."""
        return [
            setup.plan(name, task, seed, spec=spec, baselines=("map-alone",))
            for task in setup.tasks
            for name, spec in self._hosts(setup, task).items()
            for seed in setup.seeds
        ]

    def _hosts(self, setup: Setup, task: str) -> dict[str, str]:
        """Their specs, by short name: twice as wide as the task's images, with as many labels as it needs."""
        config = setup.task_config(task)
        side, labels = 32, 16
        with contextlib.suppress(DataError):  # Its runs will say so.
            loaded = task_of(config.task, config.data, config.download)
            side, labels = max(loaded.image_shape[1:]), max(loaded.num_classes, labels)
        shape = f"size={setup.option('size', 2 * side)}, num_classes={labels}"
        width = setup.option("width", 256)
        slopes = setup.option("slopes", SLOPES)
        bent = {f"slope {slope}": f"two-layer({shape}, width={width}, slope={slope})" for slope in slopes}
        return {"linear": f"linear({shape})", **bent}

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """The best constant shift of the bare scores, and whether the program is one."""
        for row, run in self.finished(setup, book):
            say(f"the best constant shift of {row.folder.name}")
            book.fact("linear-host", row.folder.name, row.result["test"], partial(shift, row, run))

    def show(self, book: Book) -> list[Block]:
        """Program against shift."""
        rows, facts = book.rows("linear-host"), book.facts("linear-host")
        table, groups = [], {}
        for task, host in distinct((row.task, row.host) for row in rows):
            here = [r for r in rows if (r.task, r.host) == (task, host) and r.folder.name in facts]
            if not here:
                continue
            found = [facts[row.folder.name] for row in here]
            n = sum(fact["n"] for fact in found)
            spread = max(fact["spread"] for fact in found)
            best = accuracy(sum(fact["correct"] for fact in found), n)
            table.append([task, host, pooled(here), best, baseline(here, "map_alone"), f"{spread:.1e}"])
            groups[f"{task}, {host}"] = {
                "program": sum(row.accuracy for row in here) / len(here),
                "best constant shift": sum(fact["correct"] for fact in found) / n,
            }
        head = [
            "task",
            "host",
            "with the program",
            "best constant shift, no program",
            "label map alone",
            "spread of the shift",
        ]
        caption = (
            "The shift is fitted to the training images' bare scores. The spread is how much what the program adds to "
            "the scores differs among test images, against the scores' own spread: 0 means that it is a constant."
        )
        figure = [bars(groups, label="test accuracy")] if groups else []
        return [*figure, Table(head=head, rows=table, caption=caption)]


def shift(row: Row, run: Planned) -> dict[str, Any]:
    """Fit the best constant shift of the bare scores; compare the program's effect among images."""
    import torch

    from reprogram.evaluation import predict

    model = model_of(row, run)
    task = task_of(run.config.task, run.config.data, run.config.download)

    def bare(images: Any) -> Any:
        return model.label_map(model.host(model.canvas(images)))

    train, test = predict(bare, task.train), predict(bare, task.test)
    constant = best_shift(train, task.train.labels)
    correct = int(((test + constant).argmax(dim=1) == task.test.labels).sum())
    added = predict(model, task.test).double() - test.double()
    spread = float(torch.linalg.norm(added - added.mean(dim=0)) / torch.linalg.norm(test - test.mean(dim=0)))
    return {"n": len(task.test), "correct": correct, "spread": spread}


def best_shift(scores: Any, labels: Any) -> Any:
    """The constant that added to all scores gives the least cross-entropy; a convex problem.

    Args:
        scores: n × k.
        labels: n.

    Returns:
        k numbers.
    """
    import torch
    from torch.nn import functional as F

    constant = torch.zeros(scores.shape[1], dtype=torch.float64, requires_grad=True)
    scores = scores.double()
    optimiser = torch.optim.LBFGS([constant], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        value = F.cross_entropy(scores + constant, labels)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return constant.detach()
