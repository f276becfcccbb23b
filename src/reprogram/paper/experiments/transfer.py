"""Transfer: a program on another host, and after the changes that images undergo on their way."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from reprogram.paper.experiments.base import AS_IN_TABLE1, Block, Experiment, Table
from reprogram.paper.loading import host_of, model_of, some, task_of
from reprogram.paper.plan import ExperimentPlan, Planned, digest_of
from reprogram.paper.store import ResultStore, Row
from reprogram.paper.tables import accuracy, chance_of, distinct, judged, pooled

COUNT = 1000
"""Test images, drawn by the run's seed; few, as each is computed as a whole canvas here."""
BATCH = 50
QUALITIES = (95, 75, 50)
AS_IS = "as it is"
NOT_JUDGED = "A program that does nothing of use on its own host has nothing that could survive."
ON = " on "
"""Joins a run's name and another host's to a measurement's name, so that a call with other hosts adds measurements."""


class Transfer(Experiment):
    """How fragile a program is."""

    title = "How fragile is it?"
    question = (
        "A program is learned for one host's weights. Does it work on another host? And does it survive what happens "
        "to pictures on their way: 8-bit PNG, JPEG, a resize by one pixel and back?"
    )

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """The runs of table 1."""
        return plan.every(baselines=AS_IN_TABLE1)

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Count the right answers after every change of the images, and on every other host of the plan."""
        for row, run in self.finished(plan, store):
            name, of = row.folder.name, {"test": row.result["test"], "drawn": COUNT}
            say(f"transfer of {name}")
            store.measurement("transfer", name, of, partial(_right_after_changes, row, run))
            for host, spec in plan.hosts.items():
                if host != row.host:
                    count = partial(_right_on_host, row, run, spec)
                    store.measurement("transfer", name + ON + host, {**of, "host": spec}, count)

    def show(self, store: ResultStore) -> list[Block]:
        """Tables: accuracies after every change of the images, and on every host; and programs that aren't judged."""
        rows, facts = store.rows("transfer"), _of_todays_hosts(store)
        rows, others = judged([row for row in rows if row.folder.name in facts], NOT_JUDGED)
        ways = distinct(way for row in rows for way in facts[row.folder.name]["ways"])
        prefixes = [row.folder.name + ON for row in rows]
        elsewhere = [name.removeprefix(prefix) for prefix in prefixes for name in facts if name.startswith(prefix)]
        hosts = distinct([*(row.host for row in rows), *elsewhere])
        by_way: list[list[str]] = []
        by_host: list[list[str]] = []
        for row in rows:
            name, chance = row.folder.name, chance_of([row])
            fact = facts[name]
            right = {row.host: fact["ways"][AS_IS]} | {
                host: facts[name + ON + host]["right"] for host in hosts if name + ON + host in facts
            }
            for table, counts, columns in ((by_way, fact["ways"], ways), (by_host, right, hosts)):
                values = [counts.get(key) for key in columns]
                cells = ("–" if k is None else accuracy(k, fact["n"], chance) for k in values)
                table.append([row.host, row.task, str(row.seed), pooled([row]), str(fact["n"]), *cells])
        head = ["learned on", "task", "seed", "test accuracy", "n"]
        return [
            Table(head=[*head, *ways], rows=by_way, caption="Accuracy on n test images, on its own host."),
            Table(head=[*head, *(f"on {host}" for host in hosts)], rows=by_host, caption="The same on other hosts."),
            *others,
        ]


def _of_todays_hosts(store: ResultStore) -> dict[str, Any]:
    """The measurements, without those on a host whose name stands for another one by now."""
    meanings = {row.host: row.host_meaning for row in store.rows("transfer") if row.host_meaning}
    facts = {}
    for name, (of, fact) in store.measured("transfer").items():
        spec = of.get("host") if isinstance(of, dict) else None
        if spec is None or meanings.get(name.partition(ON)[2], digest_of(spec)) == digest_of(spec):
            facts[name] = fact
    return facts


def _right_after_changes(row: Row, run: Planned) -> dict[str, Any]:
    """The number of right answers on the drawn test images, after each change."""
    model, test = _drawn(row, run)
    ways: dict[str, Callable[[Any], Any]] = {AS_IS: lambda pixels: pixels, "8-bit PNG": _round}
    ways |= {f"JPEG {quality}": partial(_jpeg, quality=quality) for quality in QUALITIES}
    ways["resized by a pixel"] = _resized
    right: dict[str, int] = dict.fromkeys(ways, 0)
    for framed, truth in _reprogrammed(model, test):
        canvases = framed.dense()
        for way, change in ways.items():
            right[way] += _right(model, model.host, change(canvases), truth)
    return {"n": len(test), "ways": right}


def _right_on_host(row: Row, run: Planned, spec: str) -> dict[str, Any]:
    """The number of right answers on another host; None if it has another input or another number of labels."""
    model, test = _drawn(row, run)
    host = host_of(spec, run.config.download)
    if (host.info.shape, host.info.num_classes) != (model.host.info.shape, model.host.info.num_classes):
        return {"right": None}
    return {"right": sum(_right(model, host, framed, truth) for framed, truth in _reprogrammed(model, test))}


def _drawn(row: Row, run: Planned) -> tuple[Any, Any]:
    """A run's model, and test images drawn by the run's seed."""
    task = task_of(run.config)
    return model_of(row, run), some(task.test, COUNT, run.seed)


def _reprogrammed(model: Any, test: Any) -> Iterator[tuple[Any, Any]]:
    """Batches of test images on their canvas with the program, and their labels."""
    import torch

    for images, truth in zip(test.images.split(BATCH), test.labels.split(BATCH), strict=True):
        with torch.no_grad():
            framed = model.program(model.canvas(images))
        yield framed, truth


def _right(model: Any, host: Any, pixels: Any, truth: Any) -> int:
    """The number of canvases whose answer is right, by the model's label map and a host."""
    import torch

    with torch.no_grad():
        return int((model.label_map(host(pixels)).argmax(dim=1).cpu() == truth).sum())


def _round(pixels: Any) -> Any:
    """Pixels in [0, 1], rounded to 8 bits."""
    return (pixels * 255).round() / 255


def _jpeg(pixels: Any, quality: int) -> Any:
    """The images after JPEG compression by Pillow; `quality` is in 1 to 95."""
    import torch
    from PIL import Image

    from reprogram.utils.images import to_png, to_tensor

    decoded = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(to_png(image))).save(buffer, format="JPEG", quality=quality)
        decoded.append(to_tensor(Image.open(buffer), pixels.shape[1]))
    return torch.stack(decoded).to(pixels.device, pixels.dtype) / 255


def _resized(pixels: Any) -> Any:
    """The images after a resize to one pixel less and back (bilinear, antialiased)."""
    from torch.nn import functional as F

    height, width = pixels.shape[2:]
    for size in ((height - 1, width - 1), (height, width)):
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
    return pixels.clamp(0, 1)
