"""`reprogram.audit`: how much of another task a stranger can get out of a host, at what price."""

from collections.abc import Callable, Sequence
from typing import Any, overload

from reprogram.auditing.beside import DefenceComparison, compare_both, prepare_both
from reprogram.auditing.execute import Audit
from reprogram.auditing.held import AnyHost, as_it_came
from reprogram.auditing.prepare import prepare
from reprogram.auditing.report import AuditReport
from reprogram.sweep.cells import CellEvent
from reprogram.utils.arguments import checked


@overload
def audit(host: AnyHost, *, defences: tuple[()] = (), **options: Any) -> AuditReport: ...
@overload
def audit(host: AnyHost, *, defences: str | Sequence[str], **options: Any) -> DefenceComparison: ...
@checked
def audit(
    host: AnyHost,
    *,
    defences: str | Sequence[str] = (),
    executor: str = "local",
    workers: int = 0,
    address: str = "",
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
    on_event: Callable[[CellEvent], None] = lambda _: None,
    **options: Any,
) -> AuditReport | DefenceComparison:
    """Measure how much of other tasks a stranger can get out of a host, beyond what needs no program, and its price.

    Each cell is an ordinary run in the folder `out`; the same call goes on with what is missing, and asks nothing
    twice. `audit.json` in that folder holds what is returned. A host that Python holds is left as it came.

    Args:
        host: a spec, a `Host`, a module or a function, as in `reprogram.auditing.prepare.prepare`.
        defences: specs of defences in order, such as ["jpeg(quality=75)", "rounding"]: the host is audited without and
            with them; by default only as it is.
        executor: "local" runs cells in processes of this machine, "inline" in this one, "ray" on a cluster. A host that
            isn't a spec runs in this one.
        workers: at a time; 0 for as many as there is room for.
        address: of the cluster.
        threads: CPU threads of each worker.
        say: called with each line of what is going on.
        on_event: called whenever a cell's state or progress changes.
        options: those of `reprogram.auditing.prepare.prepare`: battery, task, tasks, rungs, budgets, seeds, shots,
            test_images, rate, price, queries, cost, out, device, download, skip_bad.

    Returns:
        The report; with defences both reports, side by side.

    Raises:
        ConfigError: an option is out of range, or a task or component doesn't fit the host.
        HostUnavailableError: the host isn't here, or doesn't answer.
        BudgetError: a budget is too small for a step and a validation, or the whole audit may need more than `queries`
            or `cost`: then nothing is asked.
    """

    def run(prepared: Audit) -> AuditReport:
        return prepared.run(
            executor=executor,
            workers=workers,
            address=address,
            threads=threads,
            command="reprogram.audit(...)",
            say=say,
            on_event=on_event,
        )

    if not defences:
        alone = prepare(host, **options)
        with as_it_came(alone.host):
            return run(alone)
    both = prepare_both(host, defences, **options)
    with as_it_came(both[0].host):
        return compare_both(both, defences if isinstance(defences, str) else "+".join(defences), run)
