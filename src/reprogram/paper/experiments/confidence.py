"""Confidence: does the host notice that a reprogrammed input is no photograph?"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reprogram.errors import DataError
from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import AS_IN_TABLE1, Block, Experiment, Table, distinct, model_of, some, task_of
from reprogram.paper.plots import histograms
from reprogram.paper.setup import Planned, Setup

COUNT = 500
STATISTICS = {"entropy": "entropy, nats", "maximum": "largest probability", "energy": "−log Σ exp(score)"}
REPROGRAMMED = "reprogrammed"
PHOTOGRAPHS = "photographs on "
"""Before a run's name: of the fact on photographs, which a call without any leaves as it is."""


class Confidence(Experiment):
    """How sure the host is of photographs, of noise and of reprogrammed inputs."""

    title = "Does the host notice?"
    question = (
        "A reprogrammed input is nothing like a photograph. If the host were less sure of it, a threshold on its "
        "confidence would be a defence. The area under the ROC curve tells how well a threshold parts the two: 0.5 is "
        "guessing, 1 parts them all. Below 0.5 it is the other way round: the reprogrammed inputs have lower numbers."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """The runs of table 1."""
        return setup.every(baselines=AS_IN_TABLE1)

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """Statistics of the scores on every kind of input."""
        photographs = setup.photographs
        for row, run in self.finished(setup, book):
            say(f"how sure the host is in {row.folder.name}")
            of = {"test": row.result["test"], "drawn": COUNT}
            book.fact("confidence", row.folder.name, of, partial(sure, row, run))
            if photographs is not None:
                of = {"host": row.result["host_fingerprint"], "files": _listed(photographs)}
                looked_at = partial(of_photographs, row, run, photographs)
                book.fact("confidence", PHOTOGRAPHS + row.folder.name, of, looked_at)

    def show(self, book: Book) -> list[Block]:
        """Medians and areas; a figure a task, of its first host."""
        rows, facts = book.rows("confidence"), book.facts("confidence")
        rows = [row for row in rows if row.folder.name in facts]
        medians, areas = [], []
        blocks: list[Block] = []
        for row in rows:
            fact = _everything(facts, row)
            for kind, values in fact.items():
                numbers = [f"{statistics.median(values[name]):.3f}" for name in STATISTICS]
                medians.append([row.host, row.task, f"{row.seed}", f"{kind} (n={len(values['entropy'])})", *numbers])
                if kind != REPROGRAMMED:
                    parted = [f"{_area(fact[REPROGRAMMED][name], values[name]):.3f}" for name in STATISTICS]
                    areas.append([row.host, row.task, f"{row.seed}", kind, *parted])
        for task in distinct(row.task for row in rows):
            first = next(row for row in rows if row.task == task)
            fact = _everything(facts, first)
            picture = histograms(
                {k: v["entropy"] for k, v in fact.items()}, label=f"entropy, nats: {task} on {first.host}"
            )
            blocks.append(picture)
        return [
            *blocks,
            Table(
                head=["host", "task", "seed", "parted from", *STATISTICS],
                rows=areas,
                caption="Area under the ROC curve: higher statistic taken as reprogrammed.",
            ),
            Table(head=["host", "task", "seed", "input", *STATISTICS.values()], rows=medians, caption="Medians."),
        ]


def _everything(facts: dict[str, Any], row: Row) -> dict[str, Any]:
    """What is known of a run: its own inputs, and photographs if there were any."""
    found: dict[str, Any] = {**facts[row.folder.name], **facts.get(PHOTOGRAPHS + row.folder.name, {})}
    return found


def _listed(folder: Path) -> list[list[Any]]:
    """Which files a folder of photographs holds."""
    from reprogram.images import list_images

    return [[path.name, path.stat().st_size] for path in list_images(folder)]


def sure(row: Row, run: Planned) -> dict[str, dict[str, list[float]]]:
    """The statistics of the host's scores on reprogrammed test images and on noise."""
    import torch

    model = model_of(row, run)
    host = model.host
    task = task_of(run.config.task, run.config.data, run.config.download)
    generator = torch.Generator().manual_seed(run.seed)
    images = some(task.test, COUNT, run.seed).images
    uniform = [torch.rand(20, *host.info.shape, generator=generator) for _ in range(5)]
    return {
        REPROGRAMMED: _statistics([model.host_scores(part) for part in images.split(50)]),
        "uniform noise": _statistics([host(batch) for batch in uniform]),
    }


def of_photographs(row: Row, run: Planned, folder: Path) -> dict[str, dict[str, list[float]]]:
    """The same on photographs."""
    host = model_of(row, run).host
    return {"photographs": _statistics([host(picture) for picture in read(folder, host)])}


def read(folder: Path, host: Any) -> "Sequence[Any]":
    """All photographs of a folder as this host expects them.

    Raises:
        DataError: there is none.
    """
    from reprogram.images import list_images, photograph

    info = host.info
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: no images; give a folder of photographs")
    options = {"size": info.size, "crop": info.crop, "interpolation": info.interpolation, "channels": info.channels}
    return [photograph(path, **options) for path in paths]


def _statistics(scores: "Sequence[Any]") -> dict[str, list[float]]:
    import torch

    whole = torch.cat([part.detach().double().cpu() for part in scores])
    logs = whole.log_softmax(dim=1)
    found = {
        "entropy": -(logs.exp() * logs).sum(dim=1),
        "maximum": logs.exp().amax(dim=1),
        "energy": -whole.logsumexp(dim=1),
    }
    return {name: [round(number, 6) for number in values.tolist()] for name, values in found.items()}


def _area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive's number is the larger one, ties counted half (Mann and Whitney)."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score([1] * len(positive) + [0] * len(negative), [*positive, *negative]))
