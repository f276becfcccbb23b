"""The contract of an experiment: which runs it needs, what it measures on them, what it shows."""

import functools
import importlib
import pkgutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reprogram.errors import ConfigError, ReprogramError, nearest
from reprogram.evaluation import wilson_interval
from reprogram.paper.book import Book, Row
from reprogram.paper.setup import Planned, Setup
from reprogram.registry import configure
from reprogram.runconfig import RunConfig


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the report.

    Attributes:
        head: names of the columns.
        rows: cells as text.
        caption: what it shows.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the report: a data address and what it shows."""

    source: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures side by side."""

    pictures: Sequence[Picture]
    caption: str = ""


HostNames = Annotated[list[str], "hosts"]
"""The type of an option that names hosts of the preset."""
AT_CHANCE = " (at chance)"
"""Marks an accuracy whose 95 % interval holds what guessing gives, or always saying the most frequent class."""
PROBE = (
    "The linear probe reads the features of an inner layer for the task image over the whole input, which the program "
    "never sees, from 2,000 training images at the most."
)
"""What a caption says of it."""
AS_IN_TABLE1 = ("map-alone", "linear-probe")
"""Baselines of the runs of table 1; an experiment that asks for the same reads the same runs."""
Block = Table | Picture | Strip | str
"""What a section of the report is made of; text is a paragraph."""


class Experiment:
    """One table or figure of the paper.

    A variant sets `title` and `question`, and writes `plan` and `show`; `measure` where the runs' own results aren't
    all that it needs. Others call `runs`. `show` reads the book alone, so that a report can be made anew without any
    host.

    Attributes:
        title: of its section.
        question: that it answers.
        options: its own ones in a preset, with their types; `setup.option` reads them.
    """

    title: ClassVar[str]
    question: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def name(cls) -> str:
        """The file's name, with hyphens."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    def plan(self, setup: Setup) -> list[Planned]:
        """The runs that it reads, on all of the setup's hosts and tasks; other experiments may need the same."""
        raise NotImplementedError

    def runs(self, setup: Setup) -> list[Planned]:
        """The plan on those hosts and tasks that the preset chooses for this experiment."""
        return self.plan(setup.of(self.name()))

    def left_out(self, setup: Setup) -> list[str]:
        """What `plan` leaves out because it can't be run, a line each; by default there is nothing."""
        return []

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """Measure what the runs don't say themselves, by `book.fact`; by default there is nothing."""

    def finished(self, setup: Setup, book: Book) -> Iterator[tuple[Row, Planned]]:
        """The finished runs of this setup, each with its plan."""
        planned = {run.name: run for run in self.runs(setup)}
        for row in book.rows(self.name()):
            if row.folder.name in planned:
                yield row, planned[row.folder.name]

    def show(self, book: Book) -> list[Block]:
        """Its section of the report, from what the book holds."""
        raise NotImplementedError


def names() -> list[str]:
    """The experiments there are."""
    folder = str(Path(__file__).parent)
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules([folder]) if m.name != "base")


def find(name: str) -> Experiment:
    """An experiment by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in names():
        raise ConfigError(f"no experiment {name!r}; {nearest(name, names())}")
    module = importlib.import_module(f"reprogram.paper.experiments.{name.replace('-', '_')}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Experiment) and value.__module__ == module.__name__
    )
    experiment: Experiment = found()
    return experiment


def accuracy(correct: int, n: int, chance: float | None = None, seeds: int = 1) -> str:
    """An accuracy with its 95 % interval, marked as `mark` says."""
    low, high = wilson_interval(correct, n)
    return f"{correct / n:.4f} ({low:.4f}–{high:.4f}){mark(correct, n, chance, seeds)}"


def mark(correct: int, n: int, chance: float | None, seeds: int = 1) -> str:
    """What stands behind an accuracy that can't be told from guessing; nothing behind others.

    Args:
        correct: of all seeds.
        n: of all seeds; they share the test images, so those of one of them count.
        chance: what guessing gives.
        seeds: how many.
    """
    low, high = wilson_interval(round(correct / seeds), round(n / seeds))
    return AT_CHANCE if chance is not None and low <= chance <= high else ""


def chance_of(rows: Sequence[Row]) -> float | None:
    """What an answer without looking gives on the task of these runs: chance, or the largest class if that is more.

    None where they differ, or don't say.
    """
    said = [(row.result["baselines"].get(name) for name in ("chance", "majority")) for row in rows]
    found = {max((one["accuracy"] for one in both if one), default=None) for both in said}
    return found.pop() if len(found) == 1 else None


def pooled(rows: Sequence[Row]) -> str:
    """The accuracy of one cell of a table: with its interval, and over how many seeds it goes."""
    if not rows:
        return "–"
    correct, n = _counts([row.result["test"] for row in rows])
    text = f"{accuracy(correct, n)}, n={n}"
    if len(rows) > 1:
        text += f", {len(rows)} seeds, sd {statistics.stdev(row.accuracy for row in rows):.4f}"
    return text + mark(correct, n, chance_of(rows), len(rows))


def _counts(measured: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many are right, of how many."""
    return round(sum(m["accuracy"] * m["n"] for m in measured)), sum(m["n"] for m in measured)


def baseline(rows: Sequence[Row], name: str) -> str:
    """A baseline of the same runs, with its interval where something was learned; a dash where it wasn't measured."""
    found = [row.result["baselines"][name] for row in rows if name in row.result["baselines"]]
    if not found:
        return "–"
    if name != "majority" and all("n" in value for value in found):
        return accuracy(*_counts(found), chance_of(rows), len(found))
    return f"{statistics.mean(value['accuracy'] for value in found):.4f}"


def distinct(values: "Sequence[Any] | Any") -> list[Any]:
    """The different values, in the order of their first appearance."""
    return list(dict.fromkeys(values))


@functools.cache
def host_of(spec: str, download: bool = False) -> Any:
    """A host, built once for all measurements."""
    from reprogram.model import load_host

    return load_host(spec, download=download)


@functools.cache
def task_of(spec: str, data: str = "", download: bool = False) -> Any:
    """A task, loaded once for all measurements."""
    from reprogram.model import load_task

    return load_task(spec, data=data, download=download)


def some(split: Any, count: int, seed: int) -> Any:
    """That many images of a split at the most, drawn by a seed: many tasks hold theirs class by class."""
    import torch

    return split.take(torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count])


def frame_pixels(config: RunConfig) -> int | None:
    """Pixels around the task image, for a program to use; None where that can't be told before the run."""
    from reprogram.model import host_source

    try:
        info = host_source(config.host).info()
        if info is None:
            return None
        task = task_of(config.task, config.data, config.download)
        variant, options = configure("canvases", config.canvas)
        canvas = variant(options, image_shape=task.image_shape, host_shape=info.shape)
    except ReprogramError:  # The check before the runs, or they themselves, will say so.
        return None
    return int(canvas.geometry.mask().sum())


def model_of(row: Row, planned: Planned) -> Any:
    """The reprogrammed model that a run learned."""
    from reprogram.model import load

    return load(row.program, host=host_of(planned.config.host, planned.config.download))
