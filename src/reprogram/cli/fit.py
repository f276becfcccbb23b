"""`reprogram fit`: learn a program, measure it, report it."""

from pathlib import Path
from typing import Any

from reprogram.cli._flags import flags_of
from reprogram.cli.console import Common, Display, emit
from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.lock import refuse_owned
from reprogram.training.signals import answered_signals
from reprogram.utils.process import launched_rank, start_torch
from reprogram.utils.text import printable

Flags = flags_of(RunConfig)


def fit_command(
    *,
    flags: Flags | None = None,  # type: ignore[valid-type]
    recipe: str | None = None,
    resume: Path | None = None,
    config: Path | None = None,
    common: Common | None = None,
) -> int:
    """Learn a program, measure it on the test split and write program, result and report into a run folder.

    Flags win over REPROGRAM_* environment variables, these over --config, that over the defaults. The same command on
    an interrupted run goes on where it stopped, and so does --resume RUN.

    Args:
        flags: the options of a run.
        recipe: what all that isn't given here is like, e.g. paper-2018; see reprogram list recipes (default: best).
        resume: an interrupted run's folder: go on with it, as it is configured.
        config: TOML file with a table [fit] of these options.
        common: options of every verb.
    """
    common = common or Common()
    options = {"recipe": recipe, "device": common.device, **(vars(flags) if flags is not None else {})}
    options = {name: value for name, value in options.items() if value is not None}
    resolved = resolve(_resumed(resume, options, config) if resume is not None else options, config)
    if launched_rank() == 0:  # The other processes run under this one's lock.
        refuse_owned(RunFolder(resolved.folder).lock)
    display = Display(common.quiet or launched_rank() > 0)
    with answered_signals():
        start_torch(common.threads)
        from reprogram.runs.execute import execute

        with display.learning() as on_progress:
            result = execute(resolved, say=display.say, on_progress=on_progress)
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
    if not (folder / "config.toml").exists():
        raise ConfigError(f"{folder}: holds no run that could be gone on with; config.toml is missing")
    return {**asdict(RunFolder(folder).read_config()), "out": str(folder), **flags}


def resolve(flags: dict[str, Any], config: Path | None) -> Any:
    """The run's configuration from flags and file.

    Args:
        flags: options by name, which override those of the file.
        config: a TOML file with a table [fit]; None for no file.

    Returns:
        A `RunConfig`.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    from reprogram.runs.config import from_values, read_toml

    values = read_toml(config) if config is not None else {}
    return from_values({**values, **flags}, str(config))


def show(result: dict[str, Any], folder: Path) -> None:
    """Print a run's result for people.

    Args:
        result: the content of `result.json`.
        folder: the run folder.
    """
    from reprogram.report.page import baseline_title

    rows = [("test accuracy", result["test"])]
    rows += [(baseline_title(name), value) for name, value in result["baselines"].items()]
    print(printable(f"{result['task']} on {result['host']}, seed {result['seed']}"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        interval = value.get("interval")
        detail = f"  (n={value['n']}, 95 % interval {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
        print(f"  {name.ljust(width)}  {value['accuracy']:.4f}{detail}")
    print(f"  {result['images_seen']} training images in {result['seconds']:.0f} s")
    print(f"  program  {folder / 'program.safetensors'}")
    print(f"  report   {folder / 'report.html'}")
