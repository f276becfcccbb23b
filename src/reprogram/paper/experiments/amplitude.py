"""Limited amplitude: accuracy against the largest change of a pixel that the program may make."""

from typing import ClassVar

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import Block, Experiment, Table, distinct, pooled
from reprogram.paper.plots import curves
from reprogram.paper.setup import Planned, Setup

LEVELS = (1, 2, 4, 8, 16, 32, 64)
"""Largest changes, in steps of an 8-bit image."""
LIMITS = {
    "program": "centre",
    "program and task image": "centre(contrast={contrast!r}, round_8bit=True)",
}


class Amplitude(Experiment):
    """Limited perturbation size: ‖X_adv − background‖_∞ ≤ ε, after rounding to 8 bits."""

    title = "How strong must it be?"
    question = (
        "The program, and in the second curve the task image too, may differ from mid-grey by at most ε. The paper "
        "finds that small amplitudes still work. All inputs are rounded to 8 bits, so that they are valid images."
    )

    options: ClassVar = {"levels": list[int]}

    def plan(self, setup: Setup) -> list[Planned]:
        """Every ε, with the task image at full and at limited contrast."""
        return [
            setup.plan(
                host,
                task,
                seed,
                axis={"level": level, "limited": limited},
                program=f"bounded(eps={level / 255!r}, round_8bit=True)",
                canvas=LIMITS[limited].format(contrast=min(2 * level / 255, 1.0)),
            )
            for task in setup.tasks
            for host in setup.hosts
            for limited in LIMITS
            for level in setup.option("levels", LEVELS)
            for seed in setup.seeds
        ]

    def show(self, book: Book) -> list[Block]:
        """A curve and a table for each host and task."""
        blocks: list[Block] = []
        rows = book.rows("amplitude")
        for host, task in distinct((row.host, row.task) for row in rows):
            here = [row for row in rows if (row.host, row.task) == (host, task)]
            series = {limited: [r for r in here if r.axis["limited"] == limited] for limited in LIMITS}
            chance = here[0].result["baselines"]["chance"]["accuracy"]
            blocks.append(f"{task} on {host}")
            blocks.append(curves(series, "level", label="ε, in steps of 1/255", chance=chance))
            table = [
                [
                    f"{level}/255",
                    *(pooled([r for r in series[limited] if r.axis["level"] == level]) for limited in LIMITS),
                ]
                for level in sorted({row.axis["level"] for row in here})
            ]
            blocks.append(Table(head=["ε", *LIMITS], rows=table, caption="Test accuracy, 95 % interval."))
        return blocks
