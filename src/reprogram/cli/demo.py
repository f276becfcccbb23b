"""`reprogram demo`: two tasks on a real host, the paper's way, as a first example."""

from pathlib import Path
from typing import Any

from reprogram.cli.console import Common, Display, Whole, emit
from reprogram.cli.fit import resolve, show
from reprogram.cli.sweep import FAILED, display_cells, tell_failed
from reprogram.errors import ConfigError
from reprogram.utils.files import exists, require_writable
from reprogram.utils.process import num_threads, start_torch
from reprogram.utils.text import printable

LEARNING = {
    "canvas": "centre",
    "program": "frame",
    "label_map": "first",
    "loss": "host",
    "learner": "adam(betas=(0.9, 0.99))",
    "precision": "auto",
    "batch_size": "auto",
    "validations": 6,
}
"""How both programs are learned: the paper's way, with a learner for few images."""

MINUTES = 8.0
"""Of learning, in all: both programs at once on two cores or more, one after the other on one core."""

BASELINES = ("map-alone", "all-scores")
TASKS = {
    "squares": {"task": "squares(test=1000)"},
    "digits": {"task": "mnist", "label_map": "random(seed=0)"},
}
"""What differs: digits have ten labels that were drawn at random, and are learned from fewer images so."""

SHARES = {"squares": 3 / 8, "digits": 5 / 8}
"""The parts of the time where they are learned one after the other: digits need more images than squares."""


def demo_command(
    *, minutes: float = MINUTES, out: Path = Path("runs/demo"), seed: Whole = 0, common: Common | None = None
) -> int:
    """Make EfficientNet-Lite0, trained on ImageNet, say "tench" for one square, "goldfish" for two, and read digits so.

    For squares the host's labels are its first ten, for digits ten that were drawn at random, whatever they mean; the
    learned frame does the work. An interrupted demo goes on where it stopped; a finished one is run anew.

    Args:
        minutes: of learning: both programs at once, or one after the other on one core.
        out: folder of the two runs.
        seed: of both.
        common: options of every verb.
    """
    common = common or Common()
    if not minutes > 0:
        raise ConfigError(f"--minutes {minutes:g}: a positive number is expected")
    start_torch(common.threads)
    from reprogram.runs.folder import RunFolder
    from reprogram.sweep.cells import Cell
    from reprogram.sweep.scheduler import run_cells
    from reprogram.tasks._factory import load_task

    # Each on its own cores: a batch in two processes would have both compute the frame.
    threads = num_threads()
    workers = min(threads, len(TASKS))
    fixed = {**LEARNING, "baselines": BASELINES, "seed": seed}
    fixed |= {"device": common.device} if common.device else {}
    cells = []
    for name, options in TASKS.items():
        seconds = 60 * minutes * (1 if workers > 1 else SHARES[name])
        cells.append(Cell(name, resolve({**fixed, **options, "seconds": seconds, "out": str(out / name)}, None)))
    folders = [RunFolder(cell.config.folder) for cell in cells]
    if all(exists(folder.result) for folder in folders):
        for folder in folders:
            folder.remove()
    require_writable(out)
    for cell, folder in zip(cells, folders, strict=True):  # What can be found wrong before minutes of learning.
        folder.prepare(cell.config)
        load_task(cell.config.task)
    order = "both at once" if workers > 1 else "one after the other"
    Display(common.quiet).say(f"{' and '.join(TASKS)}: {minutes:g} min of learning, {order}; then both are measured")
    with display_cells(len(cells), common.quiet, validations=True) as (say, on_event):
        outcomes = run_cells(cells, workers=workers, threads=threads // workers, say=say, on_event=on_event)
    results = {folder.path: folder.read_result() for folder in folders if exists(folder.result)}
    if common.json:
        emit([{**result, "folder": str(path)} for path, result in results.items()])
    elif results:
        for path, result in results.items():
            show(result, path)
        print(printable(_without_a_program(list(results.values()))))
    return FAILED if tell_failed(outcomes) else 0


def _without_a_program(results: list[dict[str, Any]]) -> str:
    """A line on what all of the host's scores give away by themselves."""
    reached = (f"{result['baselines']['all_scores']['accuracy']:.3f} ({result['task']})" for result in results)
    return f"Who may read all of the host's scores needs no program: a discriminant of them gets {', '.join(reached)}."
