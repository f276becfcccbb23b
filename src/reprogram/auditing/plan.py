"""The plan of an audit: its cells, each an ordinary run, and what they will ask, take and cost."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reprogram._version import __version__
from reprogram.auditing.access import host_of_rungs
from reprogram.auditing.battery import Battery, BatteryTask
from reprogram.auditing.subject import Attack, AuditedHost, AuditedTask, Grid, Rung
from reprogram.errors import BudgetError, ConfigError
from reprogram.hosts._factory import host_source
from reprogram.hosts.base import Host
from reprogram.registry import configure
from reprogram.runs.config import RunConfig
from reprogram.runs.execute import Loader
from reprogram.runs.measure import build
from reprogram.sweep.cells import Cell
from reprogram.sweep.grid import SAVED_EVERY
from reprogram.tasks.base import Task
from reprogram.training.allowance import needs_of_run
from reprogram.training.validation import num_validation_images
from reprogram.utils.text import slug

VALIDATIONS = 4
"""How often a cell looks at its validation images."""

ON_RUNG = ("map-alone", "nearest-neighbour")
"""Terms that ask the host, so that each rung has its own."""

ANYWHERE = ("direct-training",)
"""Terms that ask no host, so that all rungs share them."""

TERMS = ("chance", "majority", "map_alone", "nearest_neighbour", "direct_training", "simple_features")
"""What an accuracy is held against, as results name it: what an attacker has without learning a program."""


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell and its place in the grid.

    Attributes:
        rung: of access.
        task: the task's short name.
        budget: in images.
        seed: of the run.
        cell: the run, with its folder.
        terms_from: the names of the cells in whose folders the terms are measured, by the terms' names; chance and
            majority are in every folder.
    """

    rung: Rung
    task: str
    budget: int
    seed: int
    cell: Cell
    terms_from: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """What an audit will run.

    Attributes:
        host: the host.
        grid: battery, tasks, attacks, budgets and seeds.
        cells: all cells, in the order of the report.
    """

    host: AuditedHost
    grid: Grid
    cells: tuple[PlannedCell, ...]


def plan_audit(spec: str, host: Host, battery: Battery, out: Path, **options: Any) -> tuple[AuditPlan, dict[str, Task]]:
    """Plan an audit; the tasks are loaded and everything is built once, so that what can't work is refused now.

    Args:
        spec: of the host.
        host: the host itself; it is asked nothing.
        battery: what to run.
        out: the folder of the audit; the run folders lie in `runs` below it.
        options: of every run, such as `device` and `download`.

    Returns:
        The plan, and the tasks by their short names.

    Raises:
        ConfigError: a task, rung or component doesn't fit the host.
        DataError: a task can't be loaded.
        BudgetError: a budget is too small for a step and a validation.
    """
    attacks = tuple(
        Attack(rung=rung, host=rung_host, **vars(battery.attacks[rung]))
        for rung, rung_host in host_of_rungs(spec, host.info, battery.rungs).items()
    )
    chosen = [_fitting(task, attacks[0], host, options) for task in battery.tasks]
    battery = replace(battery, tasks=tuple(task for task, _ in chosen))
    loaded = {task.name: images for task, images in chosen}
    tasks = tuple(_audited(task, loaded[task.name], battery.shots) for task in battery.tasks)
    grid = Grid(
        battery=battery.name,
        version=battery.version,
        tasks=tasks,
        attacks=attacks,
        budgets=battery.budgets,
        seeds=battery.seeds,
        test_images=battery.test_images,
    )
    cells = tuple(_cells(grid, battery, out, loaded, options))
    _check(cells, battery, loaded, host)
    return AuditPlan(host=audited_host(spec, host), grid=grid, cells=cells), loaded


def audited_host(spec: str, host: Host) -> AuditedHost:
    """The record of a host in a report.

    Args:
        spec: that was given.
        host: the host.
    """
    source = host_source(spec)
    files = [path for path in source.needs(source.config) if path.is_file()]
    return AuditedHost(
        spec=spec,
        id=host.info.id,
        fingerprint=host.fingerprint,
        access=host.info.access,
        num_classes=host.info.num_classes,
        input=host.info.shape,
        licence=host.info.licence,
        is_local=host.is_local,
        file=str(files[0]) if files else "",
    )


def _fitting(task: BatteryTask, attack: Attack, host: Host, options: dict[str, Any]) -> tuple[BatteryTask, Task]:
    """A task and its images; of a battery's task that has more classes than the host has labels the first classes."""
    loaded, labels = _load(task, attack, host, options), host.info.num_classes
    if task.difficulty == "own" or loaded.num_classes <= labels:
        return task, loaded
    if labels < 2:
        raise ConfigError(f"host {host.info.id}: has {labels} label; two are needed to tell anything apart")
    first = replace(task, spec=f"first-classes(task={task.spec!r}, classes={labels})")
    return first, _load(first, attack, host, options)


def _load(task: BatteryTask, attack: Attack, host: Host, options: dict[str, Any]) -> Task:
    given = {name: options[name] for name in ("download", "skip_bad") if name in options}
    config = RunConfig(host=attack.host, task=task.spec, canvas=attack.canvas, **given)
    return Loader().task(config, host)


def _audited(task: BatteryTask, loaded: Task, shots: int | None) -> AuditedTask:
    few = loaded if shots is None else loaded.few(shots, seed=0)
    return AuditedTask(
        name=task.name,
        spec=task.spec,
        difficulty=task.difficulty,  # type: ignore[arg-type]
        fingerprint=loaded.fingerprint,
        num_classes=loaded.num_classes,
        train_images=None if shots is None else len(few.train),
    )


def _cells(
    grid: Grid, battery: Battery, out: Path, tasks: dict[str, Task], options: dict[str, Any]
) -> list[PlannedCell]:
    """The cells, task by task and rung by rung; the largest budget's measures the terms that smaller ones share."""
    specs = {task.name: task.spec for task in battery.tasks}
    cells = []
    for attack in grid.attacks:
        for task in grid.tasks:
            available = task.train_images or len(tasks[task.name].train)
            donors = {budget: _donor(budget, grid.budgets, available) for budget in grid.budgets}
            for budget in grid.budgets:
                for seed in grid.seeds:
                    own = ON_RUNG if donors[budget] == budget else ()
                    shared = attack == grid.attacks[0] and budget == grid.budgets[-1]
                    config = RunConfig(
                        task=specs[task.name],
                        queries=budget,
                        seed=seed,
                        shots=battery.shots,
                        test_images=battery.test_images or "all",
                        validations=VALIDATIONS,
                        sampling="shuffled",  # As when the batteries were made.
                        checkpoint_every=SAVED_EVERY,
                        baselines=(*own, *(ANYWHERE if shared else ())),
                        **{name: value for name, value in vars(attack).items() if name != "rung"},
                        **options,
                    )
                    cells.append((attack.rung, task.name, budget, seed, donors[budget], config))
    names = {(rung, task, budget, seed): _name(rung, task, config) for rung, task, budget, seed, _, config in cells}
    first, largest = grid.attacks[0].rung, grid.budgets[-1]
    return [
        PlannedCell(
            rung=rung,
            task=task,
            budget=budget,
            seed=seed,
            cell=Cell(
                names[rung, task, budget, seed],
                replace(config, out=str(out / "runs" / names[rung, task, budget, seed])),
            ),
            terms_from={
                **{name.replace("-", "_"): names[rung, task, donor, seed] for name in ON_RUNG},
                **{name.replace("-", "_"): names[first, task, largest, seed] for name in ANYWHERE},
            },
        )
        for rung, task, budget, seed, donor, config in cells
    ]


def _donor(budget: int, budgets: Sequence[int], available: int) -> int:
    """The budget whose cell measures the terms: the largest at which as many training images are asked about."""
    return max(other for other in budgets if min(other, available) == min(budget, available))


def _name(rung: Rung, task: str, config: RunConfig) -> str:
    """The name of a cell and of its folder: another version, or another option that counts, gives another one."""
    values = {**config.identity(), "baselines": config.baselines, "version": __version__}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return f"{slug(task)[:24]}-{rung}-{config.queries}-s{config.seed}-{digest[:8]}"


def _check(cells: Sequence[PlannedCell], battery: Battery, tasks: dict[str, Task], host: Host) -> None:
    """Build the model of each rung and task with the smallest budget, so that what doesn't fit is refused at once."""
    for planned in cells:
        if planned.budget != battery.budgets[0] or planned.seed != battery.seeds[0]:
            continue
        config, task = planned.cell.config, tasks[planned.task]
        task = task if config.shots is None else task.few(config.shots, seed=config.seed)
        model = build(config, host, task)  # What is built doesn't depend on what the rung shows.
        variant, learner_options = configure("learners", config.learner)
        learner = variant(learner_options)
        learner.start(model.learned_parameters())
        looked_at = num_validation_images(config, learned=0, available=len(task.validation))
        images, _ = needs_of_run(model, learner, config, num_train=len(task.train), num_validation=looked_at)
        if planned.budget < images.least:
            raise BudgetError(
                f"budgets={planned.budget:,} is less than the {images.least:,} images that the shortest run on rung "
                f"{planned.rung} asks for: {images.first:,} to fit the label map, {images.step:,} for a step and "
                f"{images.validation:,} for a validation; give more"
            )
