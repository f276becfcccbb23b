"""The contract of an experiment: the runs that it needs, its measurements on them, its section of the report."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reprogram.errors import ConfigError
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.store import ResultStore, Row
from reprogram.utils.messages import nearest
from reprogram.utils.variants import classes_in, files_by_name, name_of


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the report.

    Attributes:
        head: names of the columns.
        rows: cells as text, as many in each row as `head` has.
        caption: a sentence or more below the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the report.

    Attributes:
        source: the image as a data URL.
        caption: a sentence below it.
        wide: whether it is shown over the page's width.
    """

    source: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures of the report side by side.

    Attributes:
        pictures: the pictures, from left to right.
        caption: a sentence above them.
        together: how many neighbours belong together and stay in one line at any width.
    """

    pictures: Sequence[Picture]
    caption: str = ""
    together: int = 1


HostNames = Annotated[list[str], "hosts"]
"""The type of an option that names hosts of the preset."""
PROBE = (
    "The linear probe reads the features of an inner layer for the task image over the whole input, which the program "
    "never sees, from 2,000 training images at the most."
)
"""A caption's explanation of the baseline `linear-probe`."""
AS_IN_TABLE1 = ("map-alone", "linear-probe")
"""Baselines of the runs of table 1; an experiment that asks for the same reads the same runs."""
Block = Table | Picture | Strip | str
"""An element of a section of the report; text is a heading."""


class Experiment:
    """One table or figure of the paper.

    A variant sets `title` and `question` and implements `plan` and `show`; `measure` too where the runs' own results
    aren't all that it needs. Callers use `runs`, which calls `plan`. `show` reads the store alone, so that a report can
    be made anew without any host.

    Attributes:
        title: the title of its section.
        question: the question that it answers, in a few sentences.
        options: its own options in a preset, with their types; `ExperimentPlan.option` reads them.
    """

    title: ClassVar[str]
    question: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def name(cls) -> str:
        """The experiment's name: its file's name, with hyphens."""
        return name_of(cls.__module__.rpartition(".")[2])

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """The runs that the experiment needs; other experiments may need the same.

        Args:
            plan: the plan for this experiment, see `ExperimentPlan.of`; all of its hosts and tasks are used.
        """
        raise NotImplementedError

    def runs(self, plan: ExperimentPlan) -> list[Planned]:
        """The runs that the experiment needs, on the hosts and tasks that the preset chooses for it.

        Args:
            plan: the plan for all experiments.
        """
        return self.plan(plan.of(self.name()))

    def left_out(self, plan: ExperimentPlan) -> list[str]:
        """The runs that `plan` leaves out because they are impossible, a line each; by default there are none.

        Args:
            plan: the plan for this experiment.
        """
        return []

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Make the experiment's measurements on its finished runs, each by `store.measurement`; by default none.

        Args:
            plan: the plan for this experiment.
            store: the finished runs, and where the measurements are stored.
            say: called with lines about the progress.
        """

    def finished(self, plan: ExperimentPlan, store: ResultStore) -> Iterator[tuple[Row, Planned]]:
        """The finished runs of a plan.

        Args:
            plan: the plan for this experiment.
            store: the finished runs.

        Yields:
            The finished run, and the planned run with its configuration.
        """
        planned = {run.name: run for run in self.runs(plan)}
        for row in store.rows(self.name()):
            if row.folder.name in planned:
                yield row, planned[row.folder.name]

    def show(self, store: ResultStore) -> list[Block]:
        """The experiment's section of the report.

        Args:
            store: the finished runs and the measurements.
        """
        raise NotImplementedError


def names() -> list[str]:
    """The names of all experiments, sorted."""
    return sorted(files_by_name(Path(__file__).parent))


def find(name: str) -> Experiment:
    """An experiment by its name.

    Args:
        name: the file's name, with hyphens.

    Raises:
        ConfigError: there is no such experiment.
    """
    if name not in names():
        raise ConfigError(f"no experiment {name!r}; {nearest(name, names())}")
    module = importlib.import_module(f"reprogram.paper.experiments.{name.replace('-', '_')}")
    (variant,) = classes_in(module, Experiment)
    experiment: Experiment = variant()
    return experiment
