"""Transfer: a program on another host, and after the ways that pictures take."""

import io
from collections.abc import Callable, Iterator
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
ON = " on "
"""Between a run's name and another host's: of the fact on that host, so that a call with other hosts adds to them."""


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
        """Accuracies on test images, on every way, and as they are on every other host of the setup."""
        for row, run in self.finished(setup, book):
            name, of = row.folder.name, {"test": row.result["test"], "drawn": COUNT}
            say(f"transfer of {name}")
            book.fact("transfer", name, of, partial(carried, row, run))
            for host, spec in setup.hosts.items():
                if host != row.host:
                    book.fact("transfer", name + ON + host, {**of, "host": spec}, partial(elsewhere, row, run, spec))

    def show(self, book: Book) -> list[Block]:
        """Both tables."""
        rows, facts = book.rows("transfer"), book.facts("transfer")
        rows = [row for row in rows if row.folder.name in facts]
        ways = distinct(way for row in rows for way in facts[row.folder.name]["ways"])
        starts = [row.folder.name + ON for row in rows]
        away = [name.removeprefix(start) for start in starts for name in facts if name.startswith(start)]
        hosts = distinct([*(row.host for row in rows), *away])
        fragile: list[list[str]] = []
        others: list[list[str]] = []
        for row in rows:
            name, chance = row.folder.name, chance_of([row])
            fact = facts[name]
            right = {row.host: fact["ways"][AS_IS]} | {
                host: facts[name + ON + host]["right"] for host in hosts if name + ON + host in facts
            }
            place = [row.host, row.task, str(row.seed), str(fact["n"])]
            for table, counts, columns in ((fragile, fact["ways"], ways), (others, right, hosts)):
                known = [counts.get(key) for key in columns]
                cells = ("–" if k is None else accuracy(k, fact["n"], chance) for k in known)
                table.append([*place, *cells])
        head = ["learned on", "task", "seed", "n"]
        return [
            Table(head=[*head, *ways], rows=fragile, caption="Accuracy on n test images, on its own host."),
            Table(head=[*head, *(f"on {host}" for host in hosts)], rows=others, caption="The same on other hosts."),
        ]


def carried(row: Row, run: Planned) -> dict[str, Any]:
    """How many of the drawn test images are right on each way."""
    model, test = _drawn(row, run)
    ways: dict[str, Callable[[Any], Any]] = {AS_IS: lambda pixels: pixels, "8-bit PNG": _round}
    ways |= {f"JPEG {quality}": partial(_jpeg, quality=quality) for quality in QUALITIES}
    ways["resized by a pixel"] = _resized
    right: dict[str, int] = dict.fromkeys(ways, 0)
    for framed, truth in _reprogrammed(model, test):
        whole = framed.dense()
        for way, change in ways.items():
            right[way] += _right(model, model.host, change(whole), truth)
    return {"n": len(test), "ways": right}


def elsewhere(row: Row, run: Planned, spec: str) -> dict[str, Any]:
    """How many of the same are right on another host; None if it has another input or another number of labels."""
    model, test = _drawn(row, run)
    host = host_of(spec, run.config.download)
    if (host.info.shape, host.info.num_classes) != (model.host.info.shape, model.host.info.num_classes):
        return {"right": None}
    return {"right": sum(_right(model, host, framed, truth) for framed, truth in _reprogrammed(model, test))}


def _drawn(row: Row, run: Planned) -> tuple[Any, Any]:
    """The model, and the test images."""
    task = task_of(run.config.task, run.config.data, run.config.download)
    return model_of(row, run), some(task.test, COUNT, run.seed)


def _reprogrammed(model: Any, test: Any) -> Iterator[tuple[Any, Any]]:
    """Batches of test images in their program, with their labels."""
    import torch

    for part, truth in zip(test.images.split(BATCH), test.labels.split(BATCH), strict=True):
        with torch.no_grad():
            framed = model.program(model.canvas(part))
        yield framed, truth


def _right(model: Any, host: Any, pixels: Any, truth: Any) -> int:
    import torch

    with torch.no_grad():
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
