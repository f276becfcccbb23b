"""Transfer: a program on another host, and after the ways that pictures take."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import (
    AS_IN_TABLE1,
    Block,
    Experiment,
    Table,
    accuracy,
    chance_of,
    distinct,
    host_of,
    model_of,
    some,
    task_of,
)
from reprogram.paper.setup import Planned, Setup

COUNT = 1000
"""Test images, drawn by the run's seed: every one is a whole picture here, which nothing shares."""
BATCH = 50
QUALITIES = (95, 75, 50)
AS_IS = "as it is"


class Transfer(Experiment):
    """How fragile a program is."""

    title = "How fragile is it?"
    question = (
        "A program is learned for one host's weights. Does it work on another host? And does it survive what happens "
        "to pictures on their way: 8-bit PNG, JPEG, a resize by one pixel and back?"
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """The runs of table 1."""
        return setup.every(baselines=AS_IN_TABLE1)

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """Accuracies on the first test images."""
        for row, run in self.finished(setup, book):
            say(f"transfer of {row.folder.name}")
            of = {"test": row.result["test"], "hosts": setup.hosts, "drawn": COUNT}
            book.fact("transfer", row.folder.name, of, partial(carried, row, run, setup.hosts))

    def show(self, book: Book) -> list[Block]:
        """Both tables."""
        rows, facts = book.rows("transfer"), book.facts("transfer")
        rows = [row for row in rows if row.folder.name in facts]
        ways = distinct(way for row in rows for way in facts[row.folder.name]["ways"])
        hosts = distinct(host for row in rows for host in facts[row.folder.name]["hosts"])
        n = max((facts[row.folder.name]["n"] for row in rows), default=0)
        fragile: list[list[str]] = []
        elsewhere: list[list[str]] = []
        for row in rows:
            fact, chance = facts[row.folder.name], chance_of([row])
            place = [row.host, row.task, str(row.seed)]
            for table, right, columns in ((fragile, fact["ways"], ways), (elsewhere, fact["hosts"], hosts)):
                cells = (accuracy(right[key], fact["n"], chance) if key in right else "–" for key in columns)
                table.append([*place, *cells])
        head = ["learned on", "task", "seed"]
        return [
            Table(head=[*head, *ways], rows=fragile, caption=f"Accuracy on {n} test images, on its own host."),
            Table(head=[*head, *(f"on {host}" for host in hosts)], rows=elsewhere, caption="The same on other hosts."),
        ]


def carried(row: Row, run: Planned, hosts: dict[str, str]) -> dict[str, Any]:
    """How many of the first test images are right, on each way and each host."""
    import torch

    model = model_of(row, run)
    task = task_of(run.config.task, run.config.data, run.config.download)
    test = some(task.test, COUNT, run.seed)
    images, labels = test.images, test.labels
    ways: dict[str, Callable[[Any], Any]] = {AS_IS: lambda pixels: pixels, "8-bit PNG": _round}
    ways |= {f"JPEG {quality}": partial(_jpeg, quality=quality) for quality in QUALITIES}
    ways["resized by a pixel"] = _resized
    right: dict[str, int] = dict.fromkeys(ways, 0)
    elsewhere: dict[str, int] = {}
    others = {name: host_of(spec, run.config.download) for name, spec in hosts.items() if name != row.host}
    same = (model.host.info.shape, model.host.info.num_classes)
    others = {name: host for name, host in others.items() if (host.info.shape, host.info.num_classes) == same}
    with torch.no_grad():
        for part, truth in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            framed = model.program(model.canvas(part))
            whole = framed.dense()
            for way, change in ways.items():
                right[way] += _right(model, model.host, change(whole), truth)
            for name, host in others.items():
                elsewhere[name] = elsewhere.get(name, 0) + _right(model, host, framed, truth)
    return {"n": len(labels), "ways": right, "hosts": {row.host: right[AS_IS], **elsewhere}}


def _right(model: Any, host: Any, pixels: Any, truth: Any) -> int:
    return int((model.label_map(host(pixels)).argmax(dim=1).cpu() == truth).sum())


def _round(pixels: Any) -> Any:
    return (pixels * 255).round() / 255


def _jpeg(pixels: Any, quality: int) -> Any:
    """Through JPEG, as Pillow writes it."""
    import torch
    from PIL import Image

    from reprogram.images import to_png, to_tensor

    found = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(to_png(image))).save(buffer, format="JPEG", quality=quality)
        found.append(to_tensor(Image.open(buffer), pixels.shape[1]))
    return torch.stack(found).to(pixels.device, pixels.dtype) / 255


def _resized(pixels: Any) -> Any:
    """One pixel smaller and back (bilinear, antialiased)."""
    from torch.nn import functional as F

    height, width = pixels.shape[2:]
    for size in ((height - 1, width - 1), (height, width)):
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
    return pixels.clamp(0, 1)
