"""`reprogram paper`: the 2018 paper's tables and figures, run again."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reprogram.cli.console import Common, Display, Whole, emit, start_torch, table
from reprogram.errors import ConfigError
from reprogram.text import printable

if TYPE_CHECKING:
    from reprogram.paper.setup import Planned

Many = Parameter(consume_multiple=True)
EXIT_FAILED = 3


def paper_command(
    experiment: str = "list",
    /,
    *,
    preset: str = "cpu",
    hosts: Annotated[list[str] | None, Many] = None,
    tasks: Annotated[list[str] | None, Many] = None,
    seeds: Annotated[list[Whole] | None, Many] = None,
    budget: str = "",
    baselines: Annotated[list[str] | None, Many] = None,
    data: Annotated[list[str] | None, Many] = None,
    photo: str = "",
    photographs: Path | None = None,
    download: bool = False,
    plan: bool = False,
    out: Path = Path("runs/paper"),
    executor: str = "local",
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
        plan: only show which runs it takes.
        out: folder of all runs, facts and the report.
        executor: what runs them: local worker processes, or ray.
        workers: at the same time.
        address: of a Ray cluster.
        common: options of every verb; --threads is each worker's, 1 by default.
    """
    common = common or Common()
    from reprogram.paper.book import Book
    from reprogram.paper.experiments.base import find, names
    from reprogram.paper.page import in_order, write_page
    from reprogram.paper.preset import read_preset
    from reprogram.paper.setup import with_choices
    from reprogram.runfolder import require_writable

    if experiment == "list":
        rows = [(name, find(name).title) for name in in_order(names())]
        emit([{"name": n, "title": t} for n, t in rows]) if common.json else table([*rows])
        return 0
    if experiment == "report":
        require_writable(out)
        if Book(out).is_empty:
            raise ConfigError(f"{out}: holds no plans of experiments; give --out the folder of a reprogram paper run")
        print(write_page(Book(out)))
        return 0
    fixed: dict[str, Any] = {"download": True} if download else {}
    fixed |= {"baselines": tuple(baselines)} if baselines else {}
    setup = with_choices(
        read_preset(preset),
        hosts=hosts or (),
        tasks=tasks or (),
        seeds=seeds or (),
        data=data or (),
        budget=budget,
        fixed=fixed | ({"device": common.device} if common.device else {}),
        photographs=photographs,
        photo=photo,
    )
    wanted = names() if experiment == "all" else [find(experiment).name()]
    if not plan:
        require_writable(out)
        start_torch(common.threads)
    from reprogram.cli.sweep import display_cells
    from reprogram.paper.check import check
    from reprogram.paper.run import begin, left_out, measure
    from reprogram.paper.run import plan as planned
    from reprogram.sweep import run_cells

    display = Display(common.quiet)
    plans = planned(wanted, setup)
    check([run for runs in plans.values() for run in runs], setup)
    for line in left_out(wanted, setup):
        display.say(line)
    if plan:
        _show_plan(plans, common.json)
        return 0
    book = Book(out)
    cells = begin(plans, book, display.say)
    with display_cells(len(cells), common.quiet) as (say, observe):
        outcomes = run_cells(
            cells,
            executor=executor,
            workers=workers,
            address=address,
            threads=common.threads or 1,
            say=say,
            observe=observe,
        )
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    finished = len(outcomes) - len(failed)
    gaps = measure(wanted, setup, book, display.say) if finished else []
    page = write_page(book) if finished else None
    if common.json:
        runs = [{"run": o.cell.name, "state": o.state, "error": o.error} for o in outcomes]
        emit({"report": str(page) if page else None, "runs": runs, "not_measured": gaps})
    else:
        print(f"{finished} of {len(outcomes)} runs finished, " + (f"report {page}" if page else "no report"))
    for line in [*(f"{outcome.cell.name} failed: {outcome.error}" for outcome in failed), *gaps]:
        print(f"reprogram: {printable(line)}", file=sys.stderr)
    return EXIT_FAILED if failed or gaps or not finished else 0


def _show_plan(planned: "dict[str, list[Planned]]", as_json: bool) -> None:
    """The runs of the experiments, each once."""
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
