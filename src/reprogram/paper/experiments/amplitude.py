"""Limited amplitude: accuracy against the largest change of a pixel that the program may make."""

from typing import Any, ClassVar

from reprogram.paper.experiments.base import Block, Experiment, Table
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.plots import curves
from reprogram.paper.store import ResultStore
from reprogram.paper.tables import by_host_and_task, pooled

LEVELS = (1, 2, 4, 8, 16, 32, 64)
"""The largest changes of a pixel, in steps of an 8-bit image: ε · 255."""
LIMITED = ("program", "program and task image")
"""What is limited."""


def faint(level: int) -> dict[str, Any]:
    """Options of a canvas whose task image may differ from mid-grey by as much as the program.

    Args:
        level: the largest change, in steps of an 8-bit image.
    """
    return {"contrast": min(2 * level / 255, 1.0), "round_8bit": True}


class Amplitude(Experiment):
    """Limited perturbation size: ‖X_adv − background‖_∞ ≤ ε, after rounding to 8 bits."""

    title = "How strong must it be?"
    question = (
        "The program, and in the second curve the task image too, may differ from mid-grey by at most ε. The paper "
        "finds that small amplitudes still work. All inputs are rounded to 8 bits, so that they are valid images."
    )

    options: ClassVar = {"levels": list[int]}

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs with every ε, with the task image at full and at limited contrast."""
        return [
            plan.planned(
                host,
                task,
                seed,
                axis={"level": level, "limited": limited},
                program=f"bounded(eps={level / 255!r}, round_8bit=True)",
                canvas=plan.centred(task, **faint(level) if limited == LIMITED[1] else {}),
            )
            for task in plan.tasks
            for host in plan.hosts
            for limited in LIMITED
            for level in plan.option("levels", LEVELS)
            for seed in plan.seeds
        ]

    def show(self, store: ResultStore) -> list[Block]:
        """A curve and a table for each host and task."""
        blocks: list[Block] = []
        for host, task, rows in by_host_and_task(store.rows("amplitude")):
            series = {limited: [r for r in rows if r.axis["limited"] == limited] for limited in LIMITED}
            chance = rows[0].result["baselines"]["chance"]["accuracy"]
            blocks.append(f"{task} on {host}")
            blocks.append(curves(series, "level", label="ε, in steps of 1/255", chance=chance))
            table = [
                [
                    f"{level}/255",
                    *(pooled([r for r in series[limited] if r.axis["level"] == level]) for limited in LIMITED),
                ]
                for level in sorted({row.axis["level"] for row in rows})
            ]
            blocks.append(Table(head=["ε", *LIMITED], rows=table, caption="Test accuracy, 95 % interval."))
        return blocks
