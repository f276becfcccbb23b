"""An audit that is planned: its cells are run, what they found becomes a report, and nothing is asked twice."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from reprogram._version import __version__
from reprogram.auditing.allowance import (
    ITSELF,
    Share,
    beside,
    images_counted,
    limits_of,
    require_enough,
    shares_of,
)
from reprogram.auditing.checks import Found, changed, flags_of, rungs_of_few_steps, rungs_of_plain_answers
from reprogram.auditing.compare import checksum
from reprogram.auditing.estimates import estimates_of
from reprogram.auditing.output import finish
from reprogram.auditing.plan import AuditPlan
from reprogram.auditing.probe import PATIENCE_S, Prober, probe_images, remember
from reprogram.auditing.report import SCHEMA, AuditReport, Bill, CellResult, Probe
from reprogram.auditing.results import Answers, read_cell
from reprogram.auditing.verdict import LIMITS, verdict_of
from reprogram.canvases.base import Canvas
from reprogram.errors import ConfigError
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed
from reprogram.runs.folder import RunFolder
from reprogram.sweep.cells import Cell, CellEvent, Outcome
from reprogram.sweep.scheduler import check_room, run_cells
from reprogram.tasks.base import Task
from reprogram.utils.files import exists, require_writable
from reprogram.utils.lock import locked
from reprogram.utils.text import printable

SILENCE = 10
"""How many times longer than the probe a cell may be silent: baselines that ask nothing tell nothing either."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit that is planned and can be run.

    Attributes:
        plan: its cells.
        host: the host.
        tasks: by their short names.
        out: its folder.
        rate: images a second of a rate limit; None without one.
        price: of 1,000 images; None without one.
        is_held: whether the host is held by this process, which alone can run its cells then.
        loading: images that the host is asked for each time that it is loaded.
        limit: images that the whole audit may ask, with what its killed processes asked; None for no limit.
        said: the limit as the user gave it.
    """

    plan: AuditPlan
    host: Host
    tasks: dict[str, Task]
    out: Path
    rate: float | None
    price: float | None
    is_held: bool
    loading: int = 0
    limit: int | None = None
    said: str = ""
    _known: dict[Any, int] = field(default_factory=dict, compare=False, repr=False)

    def shares(self) -> list[Share]:
        """What each part of the audit asks at the most, with what it has asked; nothing is asked."""
        return shares_of(self.plan, self.host, self.tasks, self._prober(), self._known, loading=self.loading)

    def needed(self) -> int:
        """The images that the whole audit asks at the most, with what it has asked."""
        return sum(share.most for share in self.shares())

    def run(
        self,
        *,
        executor: str = "local",
        workers: int = 0,
        address: str = "",
        threads: int = 1,
        patience_s: float = PATIENCE_S,
        command: str = "",
        say: Callable[[str], None] = lambda _: None,
        on_event: Callable[[CellEvent], None] = lambda _: None,
    ) -> AuditReport:
        """Run what isn't finished, and write `audit.json` into the folder.

        Args:
            executor: "local" runs cells in processes of this machine, "inline" in this one, "ray" on a cluster.
            workers: at a time; 0 for as many as there is room for.
            address: of the cluster.
            threads: CPU threads of each worker.
            patience_s: seconds that the host may take for a pass of the probe; a cell of a local worker that gives no
                sign in ten times as long fails.
            command: that the report names; by default this process's own.
            say: called with each line of what is going on.
            on_event: called whenever a cell's state or progress changes.

        Raises:
            ConfigError: the folder holds the audit of another host.
            BudgetError: the whole audit may need more than its limit; nothing was asked.
            HostUnavailableError: the host can't be asked.
        """
        require_writable(self.out)
        check_room("inline" if self.is_held else executor, workers, threads)
        if self.limit is not None:
            require_enough(self.needed(), self.limit, self.said)
        self.out.mkdir(parents=True, exist_ok=True)
        with locked(self.out / "lock"):
            noted = remember(self.out / "probe", {"fingerprint": self.host.fingerprint, "began": _now()})
            if noted.get("fingerprint") != self.host.fingerprint:
                raise ConfigError(f"{self.out}: holds the audit of another host or other weights; choose another --out")
            prober = self._prober()
            limits = {} if self.limit is None else limits_of(self.shares(), self.limit)
            prober.limit = limits.get(ITSELF)
            prober.log.loaded(self.loading)
            say("asking the host the same images twice")
            prober.begin(patience_s)
            if any(not exists(RunFolder(planned.cell.config.folder).result) for planned in self.plan.cells):
                prober.reopen()
            else:
                self._check_same(prober, patience_s, say)
            outcomes = run_cells(
                [_limited(planned.cell, limits) for planned in self.plan.cells],
                executor="inline" if self.is_held else executor,
                workers=1 if self.is_held else workers,
                address=address,
                threads=threads,
                silence_s=SILENCE * patience_s,
                say=say,
                on_event=on_event,
            )
            probe = prober.end(patience_s)
            report = self.report({o.cell.name: o for o in outcomes}, probe, str(noted.get("began", "")), command)
            return finish(report, prober, tasks=self.tasks, out=self.out)

    def report(self, outcomes: dict[str, Outcome], probe: Probe, began: str, command: str = "") -> AuditReport:
        """The report of what was run.

        Args:
            outcomes: of the cells, by name.
            probe: what was asked beside.
            began: when the audit began, ISO 8601.
            command: that the report names; by default this process's own.
        """
        cells: list[CellResult] = []
        answers: dict[str, Answers] = {}
        for planned in self.plan.cells:
            result, found = read_cell(planned, outcomes, self.out, self.tasks[planned.task])
            cells.append(result)
            if found is not None:
                answers[result.name] = found
        estimates = estimates_of(self.plan, cells, answers, rate=self.rate, price=self.price)
        found_all = Found(host=self.plan.host, cells=cells, answers=answers, estimates=estimates, probe=probe)
        return AuditReport(
            schema=SCHEMA,
            version=__version__,
            began=began,
            ended=_now(),
            command=command or shlex.join(["reprogram", *map(printable, sys.argv[1:])]),
            limits=LIMITS,
            verdict=verdict_of(estimates, rungs_of_few_steps(found_all), rungs_of_plain_answers(found_all)),
            host=self.plan.host,
            grid=self.plan.grid,
            checksum=checksum(self.plan.grid, __version__),
            rate=self.rate,
            price=self.price,
            estimates=estimates,
            cells=tuple(cells),
            flags=flags_of(found_all),
            probe=probe,
            bill=self._bill(cells, probe),
            digest="",
        )

    def _bill(self, cells: list[CellResult], probe: Probe) -> Bill:
        """The bill of cells and passes; `finish` adds what the audit asked beside them."""
        folders = [RunFolder(planned.cell.config.folder) for planned in self.plan.cells]
        more = sum(
            beside(folder, cell.images + cell.lost if cell.state == "finished" else images_counted(folder))
            + (0 if cell.state == "finished" else images_counted(folder) or 0)
            for folder, cell in zip(folders, cells, strict=True)
        )
        return Bill(
            images=sum(cell.images for cell in cells) + probe.asked + more,
            lost=sum(cell.lost for cell in cells),
            seconds=sum(cell.seconds for cell in cells),
            cost=None,
            beside=more,
        )

    def _check_same(self, prober: Prober, patience_s: float, say: Callable[[str], None]) -> None:
        """Refuse a function that answers otherwise than the one of the finished audit in the folder.

        Weights are known by their fingerprint, and a function by its answers alone: it is asked once more, which is on
        the bill. A service isn't, nor is anything beyond a limit.
        """
        if not (self.host.is_local and self.host.fingerprint.startswith("unverified")):
            return
        if prober.limit is not None and prober.spent + len(prober.images) > prober.limit:
            say(f"the limit leaves no {len(prober.images)} images to ask whether the function still is the same one")
        elif changed(prober.now(patience_s)):
            raise ConfigError(
                f"{self.out}: holds the finished audit of a host that answered the same images otherwise; choose "
                "another --out"
            )

    def _prober(self) -> Prober:
        """The prober, with images of tiles and of the first task as the first rung's canvas shows them."""
        attack = self.plan.grid.attacks[0]
        task = next(iter(self.tasks.values()))
        model = Reprogrammed.build(self.host, task, canvas=attack.canvas, program="none", label_map="frequency")
        split = task.train.sample(16, seed=0)
        canvas: Canvas = model.canvas
        shown = canvas(split.images.to(canvas.frame.device)).dense()
        images = probe_images(self.host, shown)
        labels = torch.arange(len(images), device=images.device) % min(task.num_classes, self.host.info.num_classes)
        return Prober(self.host, images, labels, self.out / "probe")


def _limited(cell: Cell, limits: Mapping[str, int]) -> Cell:
    """A cell with its part of the audit's limit, if there is one."""
    if cell.name not in limits:
        return cell
    return replace(cell, config=replace(cell.config, total_queries=limits[cell.name]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
