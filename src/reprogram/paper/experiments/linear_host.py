"""The linear host: it can't be reprogrammed; and the least non-linear one with which it begins."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from reprogram.errors import DataError
from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import (
    Block,
    Experiment,
    Table,
    accuracy,
    baseline,
    chance_of,
    distinct,
    model_of,
    pooled,
    task_of,
)
from reprogram.paper.plots import bars
from reprogram.paper.setup import Planned, Setup

SLOPES = (1.0, 0.9, 0.5, 0.0)
HEAD = (
    "task",
    "host",
    "with the program",
    "no program, scores shifted alike",
    "no program, best shift",
    "label map alone",
    "spread",
)
CAPTION = (
    "Test accuracy. Shifted alike: the mean of what the program adds to the scores is added to all bare scores. Best "
    "shift: the constant that makes most training images right, as far as a search finds it that changes one score "
    "after the other. Spread: how much what the program adds differs among test images, against the scores' own "
    "spread; 0 means that it is a constant."
)


class LinearHost(Experiment):
    """The paper's remark on linear models, as a theorem and as a run."""

    title = "A linear host can't be reprogrammed beyond a constant shift"
    question = (
        "A linear host's scores are A(X̃ + P) + b = (A X̃ + b) + A P: the program adds the same A P to the scores of "
        "every image. So whatever the program, the answers are those of the bare host with a constant shift of its "
        "scores, and no program does better than the best shift. A host with one hidden layer of leaky ReLUs, slope s "
        "for negative numbers, is linear for s = 1; from how small an s on can a program do more than a shift?"
    )

    options: ClassVar = {"slopes": list[float], "size": int, "width": int}

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
        rows = [row for row in rows if row.folder.name in facts]
        table, groups = [], {}
        for task, host in distinct((row.task, row.host) for row in rows):
            here = [row for row in rows if (row.task, row.host) == (task, host)]
            found = [facts[row.folder.name] for row in here]
            n, own, best = (sum(fact[key] for fact in found) for key in ("n", "own", "best"))
            chance = chance_of(here)
            spread = f"{max(fact['spread'] for fact in found):.1e}"
            cells = [
                pooled(here),
                accuracy(own, n, chance, len(here)),
                accuracy(best, n, chance, len(here)),
                baseline(here, "map_alone"),
                spread,
            ]
            table.append([task, host, *cells])
            groups[f"{task}, {host}"] = {"program": sum(r.accuracy for r in here) / len(here), "best shift": best / n}
        figure = [bars(groups, label="test accuracy", chance=chance_of(rows))] if groups else []
        return [*figure, Table(head=HEAD, rows=table, caption=CAPTION)]


def shift(row: Row, run: Planned) -> dict[str, Any]:
    """Fit the best constant shift of the bare scores; compare the program's effect among images."""
    import torch

    from reprogram.evaluation import predict
    from reprogram.paper.shifts import best_shift

    model = model_of(row, run)
    task = task_of(run.config.task, run.config.data, run.config.download)

    def bare(images: Any) -> Any:
        return model.label_map(model.host(model.canvas(images)))

    train, test = predict(bare, task.train).double(), predict(bare, task.test).double()
    added = predict(model, task.test).double() - test
    right = {
        name: int(((test + constant).argmax(dim=1) == task.test.labels).sum())
        for name, constant in (("own", added.mean(dim=0)), ("best", best_shift(train, task.train.labels)))
    }
    spread = float(torch.linalg.norm(added - added.mean(dim=0)) / torch.linalg.norm(test - test.mean(dim=0)))
    return {"n": len(task.test), **right, "spread": spread}
