"""Confidence: whether the host's scores tell a reprogrammed input from a photograph."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reprogram.errors import DataError
from reprogram.paper.experiments.base import AS_IN_TABLE1, Block, Experiment, Picture, Table
from reprogram.paper.loading import model_of, some, task_of
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.plots import histograms
from reprogram.paper.store import ResultStore, Row
from reprogram.paper.tables import distinct, judged, pooled
from reprogram.utils.changes import digest_of_files

COUNT = 500
"""Test images of each run, at the most."""
STATISTICS = {"entropy": "entropy, nats", "maximum": "largest probability", "energy": "−log Σ exp(score)"}
REPROGRAMMED = "reprogrammed"
NOT_JUDGED = "Whether a host notices a program that does nothing of use isn't a matter of defence."
PHOTOGRAPHS = "photographs on "
"""Precedes a run's name in the measurement on photographs, which a call without photographs leaves as it is."""


class Confidence(Experiment):
    """How sure the host is of photographs, of noise and of reprogrammed inputs."""

    title = "Does the host notice?"
    question = (
        "A reprogrammed input is nothing like a photograph. If the host were less sure of it, a threshold on its "
        "confidence would be a defence. The area under the ROC curve tells how well a threshold parts the two: 0.5 is "
        "guessing, 1 parts them all. Below 0.5 it is the other way round: the reprogrammed inputs have lower numbers."
    )

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """The runs of table 1."""
        return plan.every(baselines=AS_IN_TABLE1)

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Store statistics of the scores on every kind of input."""
        photographs = plan.photographs
        for row, run in self.finished(plan, store):
            say(f"how sure the host is in {row.folder.name}")
            of = {"test": row.result["test"], "drawn": COUNT}
            store.measurement("confidence", row.folder.name, of, partial(_own_statistics, row, run))
            if photographs is not None:
                of = {"host": row.result["host_fingerprint"], "files": _listed(photographs)}
                measure = partial(_photograph_statistics, row, run, photographs)
                store.measurement("confidence", PHOTOGRAPHS + row.folder.name, of, measure)

    def show(self, store: ResultStore) -> list[Block]:
        """A figure of the entropies for each task, on its first host, and tables of ROC areas and medians."""
        rows, facts = store.rows("confidence"), store.facts("confidence")
        rows = [row for row in rows if row.folder.name in facts]
        good, others = judged(rows, NOT_JUDGED)
        medians, areas = [], []
        for row in rows:
            fact, which = _all_statistics(facts, row), [row.host, row.task, f"{row.seed}", pooled([row])]
            for kind, values in fact.items():
                numbers = [f"{statistics.median(values[name]):.3f}" for name in STATISTICS]
                medians.append([*which, f"{kind} (n={len(values['entropy'])})", *numbers])
                if kind != REPROGRAMMED and row in good:
                    numbers = [f"{_area(fact[REPROGRAMMED][name], values[name]):.3f}" for name in STATISTICS]
                    areas.append([*which, kind, *numbers])
        head = ["host", "task", "seed", "test accuracy"]
        areas_caption = "Area under the ROC curve: higher statistic taken as reprogrammed."
        return [
            *(
                _entropies(facts, next(row for row in good if row.task == task))
                for task in distinct(r.task for r in good)
            ),
            Table(head=[*head, "parted from", *STATISTICS], rows=areas, caption=areas_caption),
            *others,
            Table(head=[*head, "input", *STATISTICS.values()], rows=medians, caption="Medians."),
        ]


def _entropies(facts: dict[str, Any], row: Row) -> Picture:
    """A figure of the entropies on every kind of input."""
    values = {kind: numbers["entropy"] for kind, numbers in _all_statistics(facts, row).items()}
    accuracy = f"test accuracy {row.accuracy:.4f}"
    return histograms(values, label=f"entropy, nats: {row.task} on {row.host}, {accuracy}")


def _all_statistics(facts: dict[str, Any], row: Row) -> dict[str, Any]:
    """A run's statistics by kind of input: its own inputs, and photographs where they were measured."""
    own: dict[str, Any] = facts[row.folder.name]
    return {**own, **facts.get(PHOTOGRAPHS + row.folder.name, {})}


def _listed(folder: Path) -> list[list[str]]:
    """Names and digests of the files in a folder of photographs."""
    from reprogram.utils.image_files import list_images

    return [[path.name, digest_of_files([path])] for path in list_images(folder)]


def _own_statistics(row: Row, run: Planned) -> dict[str, dict[str, list[float]]]:
    """Statistics of the host's scores on reprogrammed test images and on uniform noise."""
    import torch

    model = model_of(row, run)
    host = model.host
    task = task_of(run.config)
    generator = torch.Generator().manual_seed(run.seed)
    images = some(task.test, COUNT, run.seed).images
    uniform = [torch.rand(20, *host.info.shape, generator=generator) for _ in range(5)]
    return {
        REPROGRAMMED: _statistics([model.host_scores(batch) for batch in images.split(50)]),
        "uniform noise": _statistics([host(batch) for batch in uniform]),
    }


def _photograph_statistics(row: Row, run: Planned, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Statistics of the host's scores on photographs."""
    host = model_of(row, run).host
    return {"photographs": _statistics([host(picture) for picture in _photographs(folder, host)])}


def _photographs(folder: Path, host: Any) -> "Sequence[Any]":
    """All photographs of a folder, each 1 × C × H × W in the size and crop that the host expects.

    Raises:
        DataError: there is none.
    """
    from reprogram.utils.image_files import list_images
    from reprogram.utils.photographs import photograph

    info = host.info
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: no images; give a folder of photographs")
    options = {"size": info.size, "crop": info.crop, "interpolation": info.interpolation, "channels": info.channels}
    return [photograph(path, **options) for path in paths]


def _statistics(batches: "Sequence[Any]") -> dict[str, list[float]]:
    """Entropy, largest probability and energy of each image, from batches of b × K scores."""
    import torch

    scores = torch.cat([batch.detach().double().cpu() for batch in batches])  # n × K
    logs = scores.log_softmax(dim=1)
    columns = {
        "entropy": -(logs.exp() * logs).sum(dim=1),  # −Σ p log p
        "maximum": logs.exp().amax(dim=1),  # max p
        "energy": -scores.logsumexp(dim=1),  # −log Σ exp(score)
    }
    return {name: [round(number, 6) for number in column.tolist()] for name, column in columns.items()}


def _area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The ROC area: the probability that the positive number is the larger one, with ties counted half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score([1] * len(positive) + [0] * len(negative), [*positive, *negative]))
