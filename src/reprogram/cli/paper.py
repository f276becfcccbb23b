"""`reprogram paper`: the 2018 paper's tables and figures, run again."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reprogram.cli.console import Common, Display, emit, start_torch, table

Many = Parameter(consume_multiple=True)
EXIT_FAILED = 3


def paper_command(
    experiment: str = "list",
    /,
    *,
    preset: str = "cpu",
    hosts: Annotated[list[str] | None, Many] = None,
    tasks: Annotated[list[str] | None, Many] = None,
    seeds: Annotated[list[int] | None, Many] = None,
    budget: str = "",
    data: Annotated[list[str] | None, Many] = None,
    photo: str = "",
    photographs: Path | None = None,
    download: bool = False,
    plan: bool = False,
    out: Path = Path("runs/paper"),
    executor: str = "local",
    workers: int = 1,
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
        data: TASK=PATH: where a task's files lie.
        photo: photograph to hide in (default: a flower that scikit-learn carries).
        photographs: folder of photographs that the confidence is compared with.
        download: allow fetching weights and data.
        plan: only show which runs it takes.
        out: folder of all runs, facts and the report.
        executor: what runs them: local worker processes, or ray.
        workers: at the same time.
        address: of a Ray cluster.
        common: options of every verb.
    """
    common = common or Common()
    from reprogram.paper.experiments.base import find, names
    from reprogram.paper.page import in_order, write_page
    from reprogram.paper.setup import read_preset, with_choices

    if experiment == "list":
        rows = [(name, find(name).title) for name in in_order(names())]
        emit([{"name": n, "title": t} for n, t in rows]) if common.json else table([*rows])
        return 0
    if experiment == "report":
        from reprogram.paper.book import Book

        print(write_page(Book(out)))
        return 0
    fixed: dict[str, Any] = {"download": True} if download else {}
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
    if plan:
        _show_plan(wanted, setup, common.json)
        return 0
    start_torch(common.threads)
    from reprogram.paper.run import run

    display = Display(common.quiet)
    options = {"executor": executor, "workers": workers, "address": address}
    done = run(wanted, setup, out, say=display.say, **options)
    failed = [outcome for outcome in done.outcomes if outcome.state == "failed"]
    for outcome in failed:
        display.say(f"failed: {outcome.cell.name}: {outcome.error}")
    for gap in done.gaps:
        display.say(f"not measured: {gap}")
    if common.json:
        runs = [{"run": o.cell.name, "state": o.state, "error": o.error} for o in done.outcomes]
        emit({"report": str(done.report), "runs": runs, "not_measured": done.gaps})
    else:
        print(f"{len(done.outcomes) - len(failed)} of {len(done.outcomes)} runs finished, report {done.report}")
    return EXIT_FAILED if failed or done.gaps else 0


def _show_plan(wanted: list[str], setup: Any, as_json: bool) -> None:
    """The runs of the experiments, each once."""
    from dataclasses import asdict

    from reprogram.paper.run import plan

    planned = plan(wanted, setup)
    if as_json:
        emit({name: [{"run": run.name, **asdict(run.config)} for run in runs] for name, runs in planned.items()})
        return
    rows: list[tuple[object, ...]] = [("experiment", "runs", "of them new", "images a run")]
    seen: set[str] = set()
    for name, runs in planned.items():
        new = {run.name for run in runs} - seen
        seen |= new
        images = sorted({run.config.images or 0 for run in runs})
        rows.append((name, len(runs), len(new), " to ".join(f"{n:,}" for n in (images[0], images[-1]) if n)))
    table(rows)
