"""`reprogram demo`: two tasks on a real host, the paper's way, as a first example."""

from pathlib import Path
from typing import Any

from reprogram.cli.console import Common, Display, Whole, emit
from reprogram.cli.fit import resolve, show
from reprogram.training.signals import answered_signals
from reprogram.utils.files import exists
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
"""Of learning, in all."""

BASELINES = ("map-alone", "all-scores")
TASKS = {
    "squares": {"task": "squares(test=1000)"},
    "digits": {"task": "mnist", "label_map": "random(seed=0)"},
}
"""What differs: digits have ten labels that were drawn at random, and are learned from fewer images so."""

SHARES = {"squares": 3 / 8, "digits": 5 / 8}
"""The parts of the time: digits need more images than squares."""


def demo_command(
    *, minutes: float = MINUTES, out: Path = Path("runs/demo"), seed: Whole = 0, common: Common | None = None
) -> int:
    """Make EfficientNet-Lite0, trained on ImageNet, say "tench" for one square, "goldfish" for two, and read digits so.

    For squares the host's labels are its first ten, for digits ten that were drawn at random, whatever they mean; the
    learned frame does the work. An interrupted demo goes on where it stopped; a finished one is run anew.

    Args:
        minutes: of learning, in all.
        out: folder of the two runs.
        seed: of both.
        common: options of every verb.
    """
    common = common or Common()
    start_torch(common.threads)
    from reprogram.runs.execute import execute
    from reprogram.runs.folder import RunFolder

    display = Display(common.quiet)
    fixed = {**LEARNING, "baselines": BASELINES, "seed": seed}
    fixed |= {"device": common.device} if common.device else {}
    configs = [
        resolve({**fixed, **options, "seconds": 60 * minutes * SHARES[name], "out": str(out / name)}, None)
        for name, options in TASKS.items()
    ]
    folders = [RunFolder(config.folder) for config in configs]
    if all(exists(folder.result) for folder in folders):
        for folder in folders:
            folder.remove()
    results = []
    for config in configs:
        with answered_signals(), display.learning() as on_progress:
            results.append(
                execute(
                    config,
                    say=display.say,
                    on_progress=on_progress,
                    estimate=not common.quiet,
                    processes=num_threads(),
                )
            )
    if common.json:
        emit([{**result, "folder": str(config.folder)} for result, config in zip(results, configs, strict=True)])
        return 0
    for result, config in zip(results, configs, strict=True):
        show(result, config.folder)
    print(printable(_without_a_program(results)))
    return 0


def _without_a_program(results: list[dict[str, Any]]) -> str:
    """A line on what all of the host's scores give away by themselves."""
    reached = (f"{result['baselines']['all_scores']['accuracy']:.3f} ({result['task']})" for result in results)
    return f"Who may read all of the host's scores needs no program: a discriminant of them gets {', '.join(reached)}."
