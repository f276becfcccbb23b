"""Limited size: accuracy against the number of pixels that the program may change."""

from typing import ClassVar, Literal

from reprogram.paper.experiments.base import Block, Experiment, Table
from reprogram.paper.loading import frame_pixels
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.plots import curves
from reprogram.paper.store import ResultStore
from reprogram.paper.tables import by_host_and_task, distinct, pooled

PIXELS = (16, 64, 256, 1024, 4096, 16384)
VARIANTS = {
    "outermost": "sized(pixels={pixels}, where='outermost')",
    "innermost": "sized(pixels={pixels}, where='innermost')",
    "random": "sized(pixels={pixels}, where='random')",
    "learned": "sparse(pixels={pixels})",
}


class Size(Experiment):
    """Limited program size."""

    title = "How many pixels does it take?"
    question = (
        "The fewer pixels the program may change, the harder to notice it is. The paper still reprograms with small "
        "programs, at a price. Here the pixels are the outermost, the innermost, random ones, or chosen by learning."
    )

    options: ClassVar = {
        "places": list[Literal["outermost", "innermost", "random", "learned"]],
        "pixels": list[int],
    }

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs with every number of pixels that the frame has, at every place."""
        return [run for run in self._points(plan) if not _too_many(run)]

    def left_out(self, plan: ExperimentPlan) -> list[str]:
        """A line for each host and task whose frame has fewer pixels than some runs want."""
        missing: dict[str, list[int]] = {}
        for run in filter(_too_many, self._points(plan)):
            frame = f"{run.task} on {run.host}: the frame has {frame_pixels(run.config)} pixels"
            missing.setdefault(frame, []).append(run.axis["pixels"])
        return [f"{frame}, left out: {', '.join(map(str, sorted(set(sizes))))}" for frame, sizes in missing.items()]

    def _points(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs with every number of pixels at every place, also those that the frame is too small for."""
        return [
            plan.planned(
                host,
                task,
                seed,
                axis={"pixels": pixels, "place": variant},
                program=VARIANTS[variant].format(pixels=pixels),
            )
            for task in plan.tasks
            for host in plan.hosts
            for variant in plan.option("places", list(VARIANTS))
            for pixels in plan.option("pixels", PIXELS)
            for seed in plan.seeds
        ]

    def show(self, store: ResultStore) -> list[Block]:
        """A curve and a table for each host and task."""
        blocks: list[Block] = []
        for host, task, rows in by_host_and_task(store.rows("size")):
            variants, sizes = distinct(r.axis["place"] for r in rows), sorted({r.axis["pixels"] for r in rows})
            series = {variant: [r for r in rows if r.axis["place"] == variant] for variant in variants}
            chance = rows[0].result["baselines"]["chance"]["accuracy"]
            blocks.append(f"{task} on {host}")
            blocks.append(curves(series, "pixels", label="pixels of the program", chance=chance))
            table = [
                [str(n), *(pooled([r for r in series[variant] if r.axis["pixels"] == n]) for variant in variants)]
                for n in sizes
            ]
            blocks.append(Table(head=["pixels", *variants], rows=table, caption="Test accuracy, 95 % interval."))
        return blocks


def _too_many(run: Planned) -> bool:
    """Whether a run's program has more pixels than its frame."""
    available = frame_pixels(run.config)
    return available is not None and run.axis["pixels"] > available
