"""`reprogram fit`: learn a program, measure it, report it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from reprogram.cli.console import Common, Display, Whole, emit, start_torch
from reprogram.errors import ConfigError
from reprogram.interrupts import answered_signals
from reprogram.launch import launched_rank
from reprogram.lock import refuse_owned
from reprogram.runfolder import RunFolder
from reprogram.text import printable


def fit_command(
    *,
    host: str | None = None,
    task: str | None = None,
    program: str | None = None,
    label_map: str | None = None,
    canvas: str | None = None,
    learner: str | None = None,
    augmentation: str | None = None,
    recipe: str | None = None,
    loss: Literal["task", "smoothed", "host"] | None = None,
    start: str | None = None,
    shots: Whole | None = None,
    epochs: float | None = None,
    images: Whole | None = None,
    seconds: float | None = None,
    batch_size: Whole | None = None,
    parts: Whole | None = None,
    validations: Whole | None = None,
    baselines: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    seed: Whole | None = None,
    data: str | None = None,
    download: bool | None = None,
    skip_bad: bool | None = None,
    engine: Literal["shared", "dense"] | None = None,
    checkpoint_every: str | None = None,
    out: str | None = None,
    resume: Path | None = None,
    config: Path | None = None,
    common: Common | None = None,
) -> int:
    """Learn a program, measure it on the test split and write program, result and report into a run folder.

    Flags win over REPROGRAM_* environment variables, these over --config, that over the defaults. The same command on
    an interrupted run goes on where it stopped, and so does --resume RUN.

    Args:
        host: the frozen classifier, e.g. timm:resnet50.a1_in1k (default: efficientnet-lite0).
        task: what it shall do, e.g. mnist or folder:PATH (default: squares).
        program: what is learned, e.g. frame or "patch(height=64, width=64)" (default: frame).
        label_map: from host labels to task labels (default: "discriminant").
        canvas: where the task image goes (default: scaled).
        augmentation: how training images vary each time they are seen, e.g. "shift(pixels=2)" (default: none).
        learner: what improves the program, e.g. "gradient(learning_rate=0.1)" (default: gradient).
        recipe: what all that isn't given here is like, e.g. paper-2018; see reprogram list recipes (default: best).
        loss: softmax over the task's labels, also softened, or as in the paper over all the host's (default: task).
        start: program file to begin with, learned for another task or host (default: the program's start values).
        shots: images a class to learn from, and as many to validate with, chosen by the seed (default: all).
        epochs: budget in passes over the training images (default: 5, if no other budget is given).
        images: budget in training images seen.
        seconds: budget in seconds of learning.
        batch_size: images a step (default: 16).
        parts: that a batch is computed in (default: up to 16 images in each, at least 2; on GPUs one for each process).
        validations: how often the validation split is looked at (default: 10).
        baselines: of map-alone, linear-probe, direct-training, untrained; "none" for none (default: the first two).
        seed: of start values and order of images (default: 0).
        data: folder of the task's files, for tasks that take one.
        download: allow fetching weights and data (default: no).
        skip_bad: go on without image files that can't be read; the result names them (default: no).
        engine: compute what the batch shares once, or every image whole (default: shared).
        checkpoint_every: how often the state is saved: steps such as 100, or seconds such as 30s (default: 30s).
        out: run folder (default: runs/TASK-HOST-PROGRAM-SEED).
        resume: an interrupted run's folder: go on with it, as it is configured.
        config: TOML file with a table [fit] of these options.
        common: options of every verb.
    """
    common = common or Common()
    flags: dict[str, Any] = {
        "host": host,
        "task": task,
        "program": program,
        "label_map": label_map,
        "canvas": canvas,
        "learner": learner,
        "augmentation": augmentation,
        "recipe": recipe,
        "loss": loss,
        "start": start,
        "shots": shots,
        "epochs": epochs,
        "images": images,
        "seconds": seconds,
        "batch_size": batch_size,
        "parts": parts,
        "validations": validations,
        "baselines": baselines,
        "seed": seed,
        "data": data,
        "download": download,
        "skip_bad": skip_bad,
        "engine": engine,
        "checkpoint_every": checkpoint_every,
        "out": out,
        "device": common.device,
    }
    flags = {key: value for key, value in flags.items() if value is not None}
    resolved = resolve(_resumed(resume, flags, config) if resume is not None else flags, config)
    if launched_rank() == 0:  # The others find its lock, and belong to it.
        refuse_owned(RunFolder(resolved.folder).lock)
    display = Display(common.quiet or launched_rank() > 0)
    with answered_signals():
        start_torch(common.threads)
        from reprogram.runs import execute

        with display.learning() as observe:
            result = execute(resolved, say=display.say, observe=observe)
    if launched_rank() > 0:
        return 0
    if common.json:
        emit({**result, "folder": str(resolved.folder)})
    else:
        show(result, resolved.folder)
    return 0


def _resumed(folder: Path, flags: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """The options of the run in this folder, with these flags on top.

    Raises:
        ConfigError: there is no run, or the flags say that it is elsewhere.
    """
    from dataclasses import asdict

    others = {"--config": config is not None, "--out": "out" in flags, "--recipe": "recipe" in flags}
    if any(others.values()):
        other = next(name for name, given in others.items() if given)
        raise ConfigError(f"--resume {folder}: goes on with the run as it is configured there; leave {other} out")
    if not (folder / "config.toml").exists():
        raise ConfigError(f"{folder}: holds no run that could be gone on with; config.toml is missing")
    return {**asdict(RunFolder(folder).read_config()), "out": str(folder), **flags}


def resolve(flags: dict[str, Any], config: Path | None) -> Any:
    """The run's configuration from flags and file.

    Raises:
        ConfigError: an unknown key or a value of the wrong type; names it.
    """
    from reprogram.runconfig import from_values, read_toml

    values = read_toml(config) if config is not None else {}
    return from_values({**values, **flags}, str(config))


def show(result: dict[str, Any], folder: Path) -> None:
    """Print a result for people."""
    from reprogram.report.page import BASELINE_NAMES

    rows = [("test accuracy", result["test"])]
    rows += [(BASELINE_NAMES.get(name, name), value) for name, value in result["baselines"].items()]
    print(printable(f"{result['task']} on {result['host']}, seed {result['seed']}"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        interval = value.get("interval")
        detail = f"  (n={value['n']}, 95 % interval {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
        print(f"  {name.ljust(width)}  {value['accuracy']:.4f}{detail}")
    print(f"  {result['images_seen']} training images in {result['seconds']:.0f} s")
    print(f"  program  {folder / 'program.safetensors'}")
    print(f"  report   {folder / 'report.html'}")
