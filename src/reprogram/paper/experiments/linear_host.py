"""The linear host, which can't be reprogrammed, and hosts that are less and less linear."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from reprogram.errors import DataError
from reprogram.paper.experiments.base import Block, Experiment, Table
from reprogram.paper.loading import model_of, task_of
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.plots import bars
from reprogram.paper.store import ResultStore, Row
from reprogram.paper.tables import accuracy, baseline, by_host_and_task, chance_of, pooled

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

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs on a linear host, and on hosts that are less and less linear."""
        return [
            plan.planned(name, task, seed, spec=spec, baselines=("map-alone",))
            for task in plan.tasks
            for name, spec in self._hosts(plan, task).items()
            for seed in plan.seeds
        ]

    def _hosts(self, plan: ExperimentPlan, task: str) -> dict[str, str]:
        """The hosts' specs by short name: twice as wide as the task's images, with as many labels as it needs."""
        config = plan.task_config(task)
        side, labels = 32, 16
        with contextlib.suppress(DataError):  # The task's runs will fail with the same error.
            loaded = task_of(config)
            side, labels = max(loaded.image_shape[1:]), max(loaded.num_classes, labels)
        shape = f"size={plan.option('size', 2 * side)}, num_classes={labels}"
        width = plan.option("width", 256)
        slopes = plan.option("slopes", SLOPES)
        nonlinear = {f"slope {slope}": f"two-layer({shape}, width={width}, slope={slope})" for slope in slopes}
        return {"linear": f"linear({shape})", **nonlinear}

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Find the best constant shift of the scores without program, and whether the program is such a shift."""
        for row, run in self.finished(plan, store):
            say(f"the best constant shift of {row.folder.name}")
            store.measurement("linear-host", row.folder.name, row.result["test"], partial(_against_shift, row, run))

    def show(self, store: ResultStore) -> list[Block]:
        """A figure and a table of the accuracies with the program and with the best shift."""
        rows, facts = store.rows("linear-host"), store.facts("linear-host")
        rows = [row for row in rows if row.folder.name in facts]
        table, groups = [], {}
        for host, task, same in by_host_and_task(rows):
            results = [facts[row.folder.name] for row in same]
            n, mean, best = (sum(result[key] for result in results) for key in ("n", "own", "best"))
            chance = chance_of(same)
            spread = f"{max(result['spread'] for result in results):.1e}"
            cells = [
                pooled(same),
                accuracy(mean, n, chance, len(same)),
                accuracy(best, n, chance, len(same)),
                baseline(same, "map_alone"),
                spread,
            ]
            table.append([task, host, *cells])
            groups[f"{task}, {host}"] = {"program": sum(r.accuracy for r in same) / len(same), "best shift": best / n}
        figure = [bars(groups, label="test accuracy", chance=chance_of(rows))] if groups else []
        return [*figure, Table(head=HEAD, rows=table, caption=CAPTION)]


def _against_shift(row: Row, run: Planned) -> dict[str, Any]:
    """Fit the best constant shift of the scores without program, and compare the program's effect with a constant."""
    import torch

    from reprogram.evaluation.predict import predict
    from reprogram.paper.logit_shift import best_shift

    model = model_of(row, run)
    task = task_of(run.config)

    def bare(images: Any) -> Any:
        return model.label_map(model.host(model.canvas(images)))

    train, test = predict(bare, task.train).double(), predict(bare, task.test).double()
    # n × k: the program's effect on the scores of each test image
    effect = predict(model, task.test).double() - test
    right = {
        name: int(((test + constant).argmax(dim=1) == task.test.labels).sum())
        for name, constant in (("own", effect.mean(dim=0)), ("best", best_shift(train, task.train.labels)))
    }
    # ‖effect − its mean‖ / ‖scores − their mean‖
    spread = float(torch.linalg.norm(effect - effect.mean(dim=0)) / torch.linalg.norm(test - test.mean(dim=0)))
    return {"n": len(task.test), **right, "spread": spread}
