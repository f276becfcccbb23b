"""`reprogram.audit`: how much of another task a stranger can get out of a host, at what price."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from reprogram._version import __version__
from reprogram.auditing.battery import read_battery
from reprogram.auditing.checks import Found, flags_of
from reprogram.auditing.compare import checksum
from reprogram.auditing.estimates import estimates_of
from reprogram.auditing.held import AnyHost, as_it_came, held_host
from reprogram.auditing.output import finish
from reprogram.auditing.plan import AuditPlan, plan_audit
from reprogram.auditing.probe import PATIENCE_S, Prober, in_time, probe_images, remember
from reprogram.auditing.report import SCHEMA, AuditReport, Bill, CellResult, Probe
from reprogram.auditing.results import Answers, read_cell
from reprogram.auditing.subject import Rung
from reprogram.auditing.verdict import LIMITS, verdict_of
from reprogram.canvases.base import Canvas
from reprogram.errors import ConfigError
from reprogram.hosts._factory import load_host
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed
from reprogram.runs.folder import require_writable
from reprogram.runs.lock import locked
from reprogram.sweep.cells import CellEvent, Outcome
from reprogram.sweep.scheduler import run_cells
from reprogram.tasks.base import Task
from reprogram.utils.process import resolve_device
from reprogram.utils.text import printable, slug

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
    """

    plan: AuditPlan
    host: Host
    tasks: dict[str, Task]
    out: Path
    rate: float | None
    price: float | None
    is_held: bool

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
            HostUnavailableError: the host can't be asked.
        """
        require_writable(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        with locked(self.out / "lock"):
            noted = remember(self.out / "probe", {"fingerprint": self.host.fingerprint, "began": _now()})
            if noted.get("fingerprint") != self.host.fingerprint:
                raise ConfigError(f"{self.out}: holds the audit of another host or other weights; choose another --out")
            prober = self._prober()
            say("asking the host the same images twice")
            prober.begin(patience_s)
            outcomes = run_cells(
                [planned.cell for planned in self.plan.cells],
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
            return finish(report, host=self.host, tasks=self.tasks, out=self.out)

    def report(self, outcomes: dict[str, Outcome], probe: Probe | None, began: str, command: str = "") -> AuditReport:
        """The report of what was run.

        Args:
            outcomes: of the cells, by name.
            probe: what was asked beside; None where nothing was.
            began: when the audit began, ISO 8601.
            command: that the report names; by default this process's own.
        """
        cells: list[CellResult] = []
        answers: dict[str, Answers] = {}
        for planned in self.plan.cells:
            result, found = read_cell(planned, outcomes, self.out, self.tasks[planned.task].class_names)
            cells.append(result)
            if found is not None:
                answers[result.name] = found
        estimates = estimates_of(self.plan, cells, answers, rate=self.rate, price=self.price)
        found_all = Found(host=self.plan.host, cells=cells, answers=answers, estimates=estimates, probe=probe)
        images = sum(cell.images for cell in cells) + (probe.asked if probe else 0)
        lost = sum(cell.lost for cell in cells)
        return AuditReport(
            schema=SCHEMA,
            version=__version__,
            began=began,
            ended=_now(),
            command=command or shlex.join(["reprogram", *map(printable, sys.argv[1:])]),
            limits=LIMITS,
            verdict=verdict_of(estimates),
            host=self.plan.host,
            grid=self.plan.grid,
            checksum=checksum(self.plan.grid, __version__),
            rate=self.rate,
            price=self.price,
            estimates=estimates,
            cells=tuple(cells),
            flags=flags_of(found_all),
            probe=probe,
            bill=Bill(
                images=images,
                lost=lost,
                seconds=sum(cell.seconds for cell in cells),
                cost=None if self.price is None else self.price * (images + lost) / 1000,
            ),
            digest="",
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


def prepare(
    host: AnyHost,
    *,
    battery: str = "quick",
    task: Sequence[str] = (),
    tasks: Sequence[str] = (),
    rungs: Sequence[Rung] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    shots: int | None = None,
    test_images: int | None = None,
    rate: float | None = None,
    price: float | None = None,
    out: str | Path = "",
    device: str = "auto",
    download: bool = False,
    patience_s: float = PATIENCE_S,
) -> Audit:
    """Plan an audit; nothing is asked.

    Args:
        host: a spec such as "checkpoint:FILE", "python:FILE:FUNCTION" or a service's; or a host, a module or a function
            that takes images of 224 pixels, which only this process can run.
        battery: "quick", "standard", "full", or a TOML file.
        task: specs of tasks beside the battery's own.
        tasks: names of the battery's tasks, or specs, instead of its own.
        rungs: of access; by default the battery's.
        budgets: images that the host may be asked for while a program is learned; by default the battery's.
        seeds: of the runs; by default the battery's.
        shots: labelled images of each class that the attacker has; by default the battery's.
        test_images: that accuracies are measured on; by default the battery's.
        rate: images a second of a rate limit, to state the time that an attack takes.
        price: of 1,000 images, to state what an attack costs.
        out: the folder; by default runs/audit-HOST.
        device: cpu, cuda, mps, or auto.
        download: allow fetching weights and data.
        patience_s: seconds that loading the host may take where nothing is fetched; a function of one's own file is
            asked about blank images then.

    Raises:
        ConfigError: an option is out of range, or a task or component doesn't fit the host.
        HostUnavailableError: the host isn't here, or gives no answer in time.
        BudgetError: a budget is too small for a step and a validation.
    """
    for name, value in (("rate", rate), ("price", price)):
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{name}={value}; a positive number is expected")
    chosen = read_battery(battery).chosen(
        task=task, tasks=tasks, rungs=rungs, budgets=budgets, seeds=seeds, shots=shots, test_images=test_images
    )
    spec, held = (host, None) if isinstance(host, str) else held_host(host)
    loaded = (_loaded(spec, download, patience_s) if held is None else held).to(
        held.mean.device if held is not None else resolve_device(device)
    )
    device = str(loaded.mean.device) if held is not None else device
    folder = Path(out or default_folder(spec))
    plan, by_name = plan_audit(spec, loaded, chosen, folder, device=device, download=download)
    return Audit(plan=plan, host=loaded, tasks=by_name, out=folder, rate=rate, price=price, is_held=held is not None)


def _loaded(spec: str, download: bool, patience_s: float) -> Host:
    """The host of a spec, if it loads in time; what is fetched may take longer."""
    return load_host(spec, download=True) if download else in_time(lambda: load_host(spec), patience_s, spec)


def default_folder(spec: str) -> Path:
    """The folder of an audit for which none is named.

    Args:
        spec: of the host.
    """
    return Path("runs") / f"audit-{slug(spec)[-60:].lstrip('-')}"


def audit(
    host: AnyHost,
    *,
    executor: str = "local",
    workers: int = 0,
    address: str = "",
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
    on_event: Callable[[CellEvent], None] = lambda _: None,
    **options: Any,
) -> AuditReport:
    """Measure how much of other tasks a stranger can get out of a host, beyond what needs no program, and its price.

    Each cell is an ordinary run in the folder `out`; the same call goes on with what is missing, and asks nothing
    twice. `audit.json` in that folder holds what is returned. A host that Python holds is left as it came.

    Args:
        host: a spec, a `Host`, a module or a function, as in `reprogram.auditing.audit.prepare`.
        executor: "local" runs cells in processes of this machine, "inline" in this one, "ray" on a cluster. A host that
            isn't a spec runs in this one.
        workers: at a time; 0 for as many as there is room for.
        address: of the cluster.
        threads: CPU threads of each worker.
        say: called with each line of what is going on.
        on_event: called whenever a cell's state or progress changes.
        options: those of `reprogram.auditing.audit.prepare`: battery, task, tasks, rungs, budgets, seeds, shots,
            test_images, rate, price, out, device, download.

    Returns:
        The report.

    Raises:
        ConfigError: an option is out of range, or a task or component doesn't fit the host.
        HostUnavailableError: the host isn't here, or doesn't answer.
        BudgetError: a budget is too small for a step and a validation.
    """
    prepared = prepare(host, **options)
    with as_it_came(prepared.host):
        return prepared.run(
            executor=executor,
            workers=workers,
            address=address,
            threads=threads,
            command="reprogram.audit(...)",
            say=say,
            on_event=on_event,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
