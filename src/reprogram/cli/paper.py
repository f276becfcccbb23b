"""`reprogram paper`: the 2018 paper's tables and figures, run again."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reprogram.cli._completers import components, executors, experiments, presets
from reprogram.cli.console import Common, Display, Whole, emit, table
from reprogram.errors import ConfigError
from reprogram.types import Precision
from reprogram.utils.files import require_writable
from reprogram.utils.process import start_torch
from reprogram.utils.text import printable

if TYPE_CHECKING:
    from reprogram.paper.plan import ExperimentPlan, Planned

Many = Parameter(consume_multiple=True)
EXIT_FAILED = 3


def many(family: str) -> Parameter:
    """An option that takes several components of a family.

    Args:
        family: a key of `reprogram.registry.FAMILIES`.
    """
    return Parameter(consume_multiple=True, completer=components(family))


def paper_command(
    experiment: Annotated[str, Parameter(completer=experiments)] = "list",
    /,
    *,
    preset: Annotated[str, Parameter(completer=presets)] = "cpu",
    hosts: Annotated[list[str] | None, many("hosts")] = None,
    tasks: Annotated[list[str] | None, many("tasks")] = None,
    seeds: Annotated[list[Whole] | None, Many] = None,
    budget: str = "",
    baselines: Annotated[list[str] | None, many("baselines")] = None,
    data: Annotated[list[str] | None, Many] = None,
    photo: str = "",
    photographs: Path | None = None,
    download: bool = False,
    precision: Precision | None = None,
    plan: bool = False,
    out: Path = Path("runs/paper"),
    executor: Annotated[str, Parameter(completer=executors)] = "local",
    workers: Whole = 1,
    address: str = "",
    common: Common | None = None,
) -> int:
    """Run an experiment of the 2018 paper and write the report; what is finished in --out isn't run again.

    Args:
        experiment: its name; "all" for every one, "list" to see them, "report" to write the page anew from --out.
        preset: hosts, tasks and recipe: paper-2018, cpu, or a TOML file.
        hosts: names of the preset's hosts, specs, or NAME=SPEC (default: all of the preset).
        tasks: names of the preset's tasks, specs such as folder:PATH, or NAME=SPEC (default: all of the preset).
        seeds: of the runs (default: 0).
        budget: of each run: images such as 20000, or time such as 90s, 20m, 2h (default: the preset's).
        baselines: of each run, of those of `fit`, or "none" (default: what the experiment compares with). The linear
            probe of a large host may take longer than its program.
        data: TASK=PATH: where a task's files lie.
        photo: photograph to hide in (default: a flower that scikit-learn carries).
        photographs: folder of photographs that the confidence is compared with.
        download: allow fetching weights and data.
        precision: the type that hosts compute in while programs are learned (default: the preset's).
        plan: only show which runs it takes.
        out: folder of all runs, facts and the report.
        executor: what runs them: local worker processes, or ray.
        workers: at the same time.
        address: of a Ray cluster.
        common: options of every verb; --threads is each worker's, 1 by default.
    """
    common = common or Common()
    if experiment in ("list", "report"):
        return _list(common.json) if experiment == "list" else _report(out, common.json)
    fixed = {"download": download, "baselines": tuple(baselines or ()), "device": common.device, "precision": precision}
    choices = _choices(
        preset,
        hosts=hosts or (),
        tasks=tasks or (),
        seeds=seeds or (),
        data=data or (),
        budget=budget,
        fixed={name: value for name, value in fixed.items() if value},
        photographs=photographs,
        photo=photo,
    )
    if not plan:
        require_writable(out)
        start_torch(common.threads)
    runs = _planned(experiment, choices, Display(common.quiet))
    if plan:
        _show_plan(runs, common.json)
        return 0
    pool = {"executor": executor, "workers": workers, "address": address, "threads": common.threads or 1}
    return _run(runs, choices, out, pool, common)


def _choices(preset: str, **options: Any) -> "ExperimentPlan":
    """The preset, changed by the command line's options."""
    from reprogram.paper.plan import with_choices
    from reprogram.paper.preset import read_preset

    return with_choices(read_preset(preset), **options)


def _list(as_json: bool) -> int:
    """Print the experiments."""
    from reprogram.paper.experiments.base import find, names
    from reprogram.paper.page import in_order

    rows = [(name, find(name).title) for name in in_order(names())]
    emit([{"name": n, "title": t} for n, t in rows]) if as_json else table([*rows])
    return 0


def _report(out: Path, as_json: bool) -> int:
    """Write the page anew from the results in a folder."""
    from reprogram.paper.page import write_page
    from reprogram.paper.store import ResultStore

    require_writable(out)
    if ResultStore(out).is_empty:
        raise ConfigError(f"{out}: holds no plans of experiments; give --out the folder of a reprogram paper run")
    page = write_page(ResultStore(out))
    emit({"report": str(page)}) if as_json else print(page)
    return 0


def _planned(experiment: str, choices: "ExperimentPlan", display: Display) -> "dict[str, list[Planned]]":
    """The runs by experiment, checked before any begins; `experiment` is a name or "all"."""
    from reprogram.paper.experiments.base import find, names
    from reprogram.paper.run import left_out, plan
    from reprogram.paper.validate import check

    experiments = names() if experiment == "all" else [find(experiment).name()]
    plans = plan(experiments, choices)
    check([run for runs in plans.values() for run in runs], choices)
    for line in left_out(experiments, choices):
        display.say(line)
    return plans


def _run(
    plans: "dict[str, list[Planned]]", choices: "ExperimentPlan", out: Path, pool: dict[str, Any], common: Common
) -> int:
    """Run the runs that aren't finished, measure, and write the page; returns the exit code."""
    from reprogram.cli.sweep import display_cells, doubts_of
    from reprogram.paper.page import write_page
    from reprogram.paper.run import begin, measure
    from reprogram.paper.store import ResultStore
    from reprogram.sweep.scheduler import run_cells

    display, store = Display(common.quiet), ResultStore(out)
    cells = begin(plans, store, display.say)
    with display_cells(len(cells), common.quiet) as (say, on_event):
        outcomes = run_cells(cells, say=say, on_event=on_event, **pool)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    finished = len(outcomes) - len(failed)
    missing = measure([*plans], choices, store, display.say) if finished else []
    page = write_page(store) if finished else None
    if common.json:
        runs = [{"run": o.cell.name, "state": o.state, "error": o.error, "doubts": doubts_of(o)} for o in outcomes]
        emit({"report": str(page) if page else None, "runs": runs, "not_measured": missing})
    else:
        print(f"{finished} of {len(outcomes)} runs finished, " + (f"report {page}" if page else "no report"))
        for outcome in outcomes:
            for line in doubts_of(outcome).values():
                print(printable(f"{outcome.cell.name}: {line}"))
    for line in [*(f"{outcome.cell.name} failed: {outcome.error}" for outcome in failed), *missing]:
        print(f"reprogram: {printable(line)}", file=sys.stderr)
    return EXIT_FAILED if failed or missing or not finished else 0


def _show_plan(planned: "dict[str, list[Planned]]", as_json: bool) -> None:
    """Print the runs of the experiments; of each, how many no earlier one has."""
    from dataclasses import asdict

    if as_json:
        emit({name: [{"run": run.name, **asdict(run.config)} for run in runs] for name, runs in planned.items()})
        return
    rows: list[tuple[object, ...]] = [("experiment", "runs", "of them new", "images a run")]
    seen: set[str] = set()
    for name, runs in planned.items():
        new = {run.name for run in runs} - seen
        seen |= new
        images = sorted({run.config.images or 0 for run in runs})
        ends = dict.fromkeys([*images[:1], *images[-1:]])
        rows.append((name, len(runs), len(new), " to ".join(f"{n:,}" for n in ends if n)))
    table(rows)
