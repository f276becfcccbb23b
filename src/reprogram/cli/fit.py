"""`reprogram fit`: learn a program, measure it, report it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reprogram.cli._completers import recipes
from reprogram.cli._flags import flags_of
from reprogram.cli.console import Common, Display, emit
from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.training.signals import answered_signals
from reprogram.utils.files import exists
from reprogram.utils.lock import refuse_owned
from reprogram.utils.process import launched_rank, num_threads, start_torch
from reprogram.utils.text import printable

Flags = flags_of(RunConfig)


def fit_command(
    *,
    flags: Flags | None = None,  # type: ignore[valid-type]
    recipe: Annotated[str | None, Parameter(completer=recipes)] = None,
    resume: Path | None = None,
    config: Path | None = None,
    common: Common | None = None,
) -> int:
    """Learn a program, measure it on the test split and write program, result and report into a run folder.

    Flags win over REPROGRAM_* environment variables, these over --config, that over the defaults. The same command on
    an interrupted run goes on where it stopped, and so does --resume RUN.

    Args:
        flags: the options of a run.
        recipe: what all that isn't given here is like, e.g. paper-2018; see reprogram list recipes (default: none).
        resume: an interrupted run's folder: go on with it, as it is configured.
        config: TOML file with a table [fit] of these options.
        common: options of every verb.
    """
    common = common or Common()
    options = {"recipe": recipe, "device": common.device, **(vars(flags) if flags is not None else {})}
    options = {name: value for name, value in options.items() if value is not None}
    display = Display(common.quiet or launched_rank() > 0)
    options = _resumed(resume, options, config) if resume is not None else options
    resolved = resolve(options, config, display.say)
    if launched_rank() == 0:  # The other processes run under this one's lock.
        refuse_owned(RunFolder(resolved.folder).lock)
    with answered_signals():
        start_torch(common.threads)
        from reprogram.runs.execute import execute

        with display.learning() as on_progress:
            result = execute(
                resolved,
                say=display.say,
                on_progress=on_progress,
                estimate=not common.quiet,
                processes=num_threads(),
            )
    if launched_rank() > 0:
        return 0
    if common.json:
        emit({**result, "folder": str(resolved.folder)})
    else:
        show(result, resolved.folder)
    return 0


def _resumed(folder: Path, flags: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """The options of the run in a folder, overridden by the flags.

    Raises:
        ConfigError: the folder holds no run, or an option names another configuration or folder.
    """
    from dataclasses import asdict

    conflicts = {"--config": config is not None, "--out": "out" in flags, "--recipe": "recipe" in flags}
    if any(conflicts.values()):
        other = next(name for name, is_set in conflicts.items() if is_set)
        raise ConfigError(f"--resume {folder}: goes on with the run as it is configured there; leave {other} out")
    if not exists(folder / "config.toml"):
        raise ConfigError(f"{folder}: holds no run that could be gone on with; config.toml is missing")
    return {**asdict(RunFolder(folder).read_config()), "out": str(folder), **flags}


def resolve(flags: dict[str, Any], config: Path | None, say: Callable[[str], None] = lambda _: None) -> Any:
    """The run's configuration from flags and file.

    Args:
        flags: options by name, which override those of the file.
        config: a TOML file with a table [fit]; None for no file.
        say: called with a line about a file or a run folder of version 0.1, whose defaults were others.

    Returns:
        A `RunConfig`.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    from reprogram.runs.config import from_values, read_toml
    from reprogram.runs.earlier import as_written, begun_options, note_on_0_1

    values = read_toml(config) if config is not None else {}
    if (note := note_on_0_1(values, str(config), flags)) is not None:
        say(note)
    values = {**values, **flags} if "recipe" in flags else {**as_written(values), **flags}
    try:
        resolved = from_values(values, str(config))
    except ConfigError as error:
        option = str(error).partition("=")[0]
        where = f"{config}: " if config is not None and option in values and option not in flags else ""
        raise type(error)(f"{where}{error}") from None
    begun = begun_options(RunFolder(resolved.folder).config, values)
    return from_values({**begun, **values}, str(config)) if begun else resolved


def show(result: dict[str, Any], folder: Path) -> None:
    """Print a run's result for people.

    Args:
        result: the content of `result.json`.
        folder: the run folder.
    """
    from reprogram.report.bill import bill_line
    from reprogram.report.doubts import doubts

    rows = _rows(result)
    print(printable(f"{result['task']} on {result['host']}, seed {result['seed']}"))
    width = max(len(name) for name, _, _ in rows)
    for name, value, detail in rows:
        print(f"  {name.ljust(width)}  {value}{detail}".rstrip())
    for line in doubts(result).values():
        print(f"  {line}")
    print(f"  {result['images_seen']} training images in {result['seconds']:.0f} s, loss {result['loss']}")
    if "bill" in result:
        print(f"  {bill_line(result['bill'])}")
    if "ended_early" in result:
        print(f"  learning ended early, at {result['ended_early']}")
    print(f"  program  {folder / 'program.safetensors'}")
    print(f"  report   {folder / 'report.html'}")


def _rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What was measured: its name, its value and its details; the program first."""
    from reprogram.report.page import baseline_title, needed

    def accuracy(name: str, value: dict[str, Any], more: str = "") -> tuple[str, str, str]:
        interval = value.get("interval")
        detail = f"  (n={value['n']}, 95 % interval {interval[0]:.4f} to {interval[1]:.4f}{more})" if interval else ""
        return name, f" {value['accuracy']:.4f}", detail

    def difference(name: str, value: dict[str, Any]) -> tuple[str, str, str]:
        low, high = value["interval"]
        return name, f"{value['difference']:+.4f}", f"  (n={value['n']}, 95 % interval {low:+.4f} to {high:+.4f})"

    rows = [accuracy("test accuracy", result["test"])]
    shows, worth = result.get("host_shows", {}), result.get("program_worth")
    if "top_label" in shows:
        outside = shows["top_label"]["outside"]
        rows += [accuracy("by the host's top label alone", shows["top_label"], f"; outside the map: {outside}")]
    elif shows:
        rows += [("what the host must show", f" {needed(shows)}", "")]
    if worth is not None:
        rows += [difference("what the program is worth", worth)]
    if (gain := result.get("net_gain")) is not None and gain["over"] != "map_alone":
        rows += [difference(f"net gain over {gain['over'].replace('_', '-')}", gain)]
    return rows + [accuracy(baseline_title(name), value) for name, value in result["baselines"].items()]
