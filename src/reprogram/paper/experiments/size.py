"""Limited size: accuracy against the number of pixels that the program may change."""

from typing import ClassVar, Literal

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import Block, Experiment, Table, distinct, frame_pixels, pooled
from reprogram.paper.plots import curves
from reprogram.paper.setup import Planned, Setup

PIXELS = (16, 64, 256, 1024, 4096, 16384)
PLACES = {
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

    def plan(self, setup: Setup) -> list[Planned]:
        """Every number of pixels that the frame has, at every place."""
        return [run for run in self._points(setup) if not _too_many(run)]

    def left_out(self, setup: Setup) -> list[str]:
        """Numbers of pixels that a host's frame doesn't have."""
        missing: dict[str, list[int]] = {}
        for run in filter(_too_many, self._points(setup)):
            place = f"{run.task} on {run.host}: the frame has {frame_pixels(run.config)} pixels"
            missing.setdefault(place, []).append(run.axis["pixels"])
        return [f"{place}, left out: {', '.join(map(str, sorted(set(sizes))))}" for place, sizes in missing.items()]

    def _points(self, setup: Setup) -> list[Planned]:
        return [
            setup.plan(
                host,
                task,
                seed,
                axis={"pixels": pixels, "place": place},
                program=PLACES[place].format(pixels=pixels),
            )
            for task in setup.tasks
            for host in setup.hosts
            for place in setup.option("places", list(PLACES))
            for pixels in setup.option("pixels", PIXELS)
            for seed in setup.seeds
        ]

    def show(self, book: Book) -> list[Block]:
        """A curve and a table for each host and task."""
        blocks: list[Block] = []
        rows = book.rows("size")
        for host, task in distinct((row.host, row.task) for row in rows):
            here = [row for row in rows if (row.host, row.task) == (host, task)]
            places, sizes = distinct(r.axis["place"] for r in here), sorted({r.axis["pixels"] for r in here})
            series = {place: [r for r in here if r.axis["place"] == place] for place in places}
            chance = here[0].result["baselines"]["chance"]["accuracy"]
            blocks.append(f"{task} on {host}")
            blocks.append(curves(series, "pixels", label="pixels of the program", chance=chance))
            table = [
                [str(n), *(pooled([r for r in series[place] if r.axis["pixels"] == n]) for place in places)]
                for n in sizes
            ]
            blocks.append(Table(head=["pixels", *places], rows=table, caption="Test accuracy, 95 % interval."))
        return blocks


def _too_many(run: Planned) -> bool:
    """Whether a run's program has more pixels than its frame."""
    have = frame_pixels(run.config)
    return have is not None and run.axis["pixels"] > have
