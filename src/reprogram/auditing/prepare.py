"""What is asked for, as an audit that can be run: options are checked, host and tasks loaded, the cells planned."""

from collections.abc import Sequence
from pathlib import Path

from reprogram.auditing.allowance import limit_of
from reprogram.auditing.battery import read_battery
from reprogram.auditing.execute import Audit
from reprogram.auditing.held import AnyHost, held_host
from reprogram.auditing.plan import plan_audit
from reprogram.auditing.probe import PATIENCE_S, in_time
from reprogram.auditing.subject import Rung
from reprogram.errors import ConfigError
from reprogram.hosts._factory import load_host
from reprogram.hosts.base import Host
from reprogram.utils.arguments import checked
from reprogram.utils.process import resolve_device
from reprogram.utils.text import slug


@checked
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
    queries: int | None = None,
    cost: float | None = None,
    out: str | Path = "",
    device: str = "auto",
    download: bool = False,
    skip_bad: bool = False,
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
        queries: images that the whole audit may ask, all cells and processes together, with those that were asked
            before; an audit that may need more is refused when it is run, before anything is asked.
        cost: money that the whole audit may cost at the price, likewise.
        out: the folder; by default runs/audit-HOST.
        device: cpu, cuda, mps, or auto.
        download: allow fetching weights and data.
        skip_bad: go on without image files of a task that can't be read.
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
    limit = limit_of(queries, cost, price)
    chosen = read_battery(battery).chosen(
        task=task, tasks=tasks, rungs=rungs, budgets=budgets, seeds=seeds, shots=shots, test_images=test_images
    )
    spec, held = (host, None) if isinstance(host, str) else held_host(host)
    loaded = (_loaded(spec, download, patience_s) if held is None else held).to(
        held.mean.device if held is not None else resolve_device(device)
    )
    loading = loaded.asked_to_build if held is None else 0
    device = str(loaded.mean.device) if held is not None else device
    folder = Path(out or default_folder(spec))
    plan, by_name = plan_audit(spec, loaded, chosen, folder, device=device, download=download, skip_bad=skip_bad)
    return Audit(
        plan=plan,
        host=loaded,
        tasks=by_name,
        out=folder,
        rate=rate,
        price=price,
        is_held=held is not None,
        loading=loading,
        limit=limit,
        said=said_limit(queries, cost, limit),
    )


def _loaded(spec: str, download: bool, patience_s: float) -> Host:
    """The host of a spec, if it loads in time; what is fetched may take longer."""
    return load_host(spec, download=True) if download else in_time(lambda: load_host(spec), patience_s, spec)


def default_folder(spec: str) -> Path:
    """The folder of an audit for which none is named.

    Args:
        spec: of the host.
    """
    return Path("runs") / f"audit-{slug(spec)[-60:].lstrip('-')}"


def said_limit(queries: int | None, cost: float | None, limit: int | None) -> str:
    """The limit of an audit as it was given, for messages; empty without one.

    Args:
        queries: in images.
        cost: in money.
        limit: the smaller of both, in images.
    """
    if limit is None:
        return ""
    return f"queries={limit:,}" if limit == queries else f"cost={cost:g} buys {limit:,} images"
