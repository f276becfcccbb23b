"""The options of `reprogram audit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reprogram.cli._completers import batteries, components, executors
from reprogram.cli.console import Whole

Many = Parameter(consume_multiple=True, negative=())
Tasks = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=(), completer=components("tasks"))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class What:
    """What is audited.

    Attributes:
        battery: quick, standard, full, or a TOML file.
        task: tasks beside the battery's own: specs such as folder:PATH, or NAME=SPEC.
        tasks: names of the battery's tasks, or specs, instead of all of its own.
        rungs: of access: gradient, scores, rounded-scores, top-5, label; by default the battery's, as far as the host
            shows them.
        budgets: images that the host may be asked for while a program is learned; by default the battery's.
        seeds: of the runs; by default the battery's.
        shots: labelled images of each class that the attacker has; by default the battery's.
        test_images: that accuracies are measured on; by default the battery's.
        rate: images a second of the host's rate limit, to say how long an attack takes.
        price: of 1,000 images, in any unit, to say what an attack costs.
        queries: images that the whole audit may ask, with what it asked before; refused where it may need more.
        cost: money that the whole audit may cost at the price, likewise.
        out: folder of the audit; by default runs/audit-HOST.
        download: allow fetching weights and data.
        skip_bad: go on without image files of a task that can't be read.
    """

    battery: Annotated[str, Parameter(completer=batteries)] = "quick"
    task: Tasks = None
    tasks: Tasks = None
    rungs: Annotated[list[str] | None, Many] = None
    budgets: Annotated[list[Whole] | None, Many] = None
    seeds: Annotated[list[Whole] | None, Many] = None
    shots: Whole | None = None
    test_images: Whole | None = None
    rate: float | None = None
    price: float | None = None
    queries: Whole | None = None
    cost: float | None = None
    out: Path | None = None
    download: bool = False
    skip_bad: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Where cells run.

    Attributes:
        executor: local, in processes of this machine; inline, in this one; ray, on a cluster.
        workers: at the same time; 0 is as many as there is room for, such as a core for each.
        address: of a Ray cluster.
        patience_s: seconds that the host may take to load, where nothing is fetched, and to answer the first images.
    """

    executor: Annotated[str, Parameter(completer=executors)] = "local"
    workers: Whole = 0
    address: str = ""
    patience_s: Annotated[float, Parameter(name="--patience")] = 300.0
