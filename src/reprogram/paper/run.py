"""The steps of running experiments: plan their runs, have each run once, then measure on the finished runs."""

from collections.abc import Callable, Sequence

from reprogram.errors import ConfigError, ReprogramError
from reprogram.paper.experiments.base import find
from reprogram.paper.page import in_order
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.store import ResultStore
from reprogram.sweep.cells import Cell, placed


def plan(experiments: Sequence[str], plan: ExperimentPlan) -> dict[str, list[Planned]]:
    """The runs of each experiment, in the order of the report.

    Args:
        experiments: the experiments' names.
        plan: hosts, tasks, seeds and recipe.

    Returns:
        Runs by the experiment's name.

    Raises:
        ConfigError: an experiment has nothing to run.
    """
    planned = {name: find(name).runs(plan) for name in in_order(experiments)}
    for name, runs in planned.items():
        if not runs and not left_out([name], plan):
            own = plan.of(name)
            empty = [what for what in ("hosts", "tasks", "seeds") if not getattr(own, what)]
            where = f"there are no {empty[0]}" if empty else f"a list in the preset's [experiments.{name}] is empty"
            raise ConfigError(f"{name} has nothing to run: {where}")
    if not any(planned.values()):
        raise ConfigError(f"nothing can be run: {'; '.join(left_out(experiments, plan))}")
    return planned


def left_out(experiments: Sequence[str], plan: ExperimentPlan) -> list[str]:
    """The parts of experiments that are left out because they can't be run: a line each.

    Args:
        experiments: the experiments' names.
        plan: hosts, tasks, seeds and recipe.
    """
    return [f"{name}: {line}" for name in in_order(experiments) for line in find(name).left_out(plan.of(name))]


def begin(planned: dict[str, list[Planned]], store: ResultStore, say: Callable[[str], None]) -> list[Cell]:
    """Write the plans into the store and turn their runs into cells of a grid.

    Args:
        planned: runs by the experiment's name.
        store: the output folder.
        say: called with a line for each experiment from whose tables earlier runs are dropped.

    Returns:
        A cell for each run that is needed, each once, with its folder.

    Raises:
        ConfigError: two tasks or hosts have names that make the same folder.
    """
    meant: dict[str, Planned] = {}
    for run in (run for runs in planned.values() for run in runs):
        other = meant.setdefault(run.name, run)
        if (other.task, other.host) != (run.task, run.host):
            names = (other.task, run.task) if other.task != run.task else (other.host, run.host)
            raise ConfigError(
                f"{names[0]!r} and {names[1]!r} are the same name in folders; give one of them another name"
            )
    cells = {run.name: Cell(run.name, run.config) for runs in planned.values() for run in runs}
    for name, runs in planned.items():
        if dropped := store.write_plan(name, runs):
            say(f"{name}: {dropped} earlier runs leave the tables, since their names or places are others' by now")
    return placed(cells.values(), store.runs)


def measure(
    experiments: Sequence[str], plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]
) -> list[str]:
    """Make the measurements on the finished runs that the runs' own results don't hold.

    Args:
        experiments: the experiments' names.
        plan: hosts, tasks, seeds and recipe.
        store: the output folder; a measurement that it holds isn't made again.
        say: called with lines about the progress.

    Returns:
        A line for each measurement that couldn't be made, with the reason.
    """
    for name in in_order(experiments):
        try:
            find(name).measure(plan.of(name), store, say)
        except ReprogramError as error:
            store.missing.append(f"{name}: {error}")
    return store.missing
