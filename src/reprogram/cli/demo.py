"""`reprogram demo`: two tasks on a real host, as a first example."""

from pathlib import Path

from reprogram.cli.console import Common, Display, Whole, emit
from reprogram.cli.fit import resolve, show
from reprogram.training.signals import answered_signals
from reprogram.utils.process import start_torch

SETTINGS = {"recipe": "best", "num_microbatches": 1, "validations": 6}
TASKS = {"squares": {"task": "squares(test=1000)"}, "digits": {"task": "mnist"}}


def demo_command(
    *, minutes: float = 7.75, out: Path = Path("runs/demo"), seed: Whole = 0, common: Common | None = None
) -> int:
    """Make EfficientNet-Lite0, trained on ImageNet, count squares and then read digits.

    An interrupted demo goes on where it stopped; a finished one is run anew.

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
    device = {"device": common.device} if common.device else {}
    configs = [
        resolve({**SETTINGS, **options, "seconds": 30 * minutes, "seed": seed, "out": str(out / name), **device}, None)
        for name, options in TASKS.items()
    ]
    folders = [RunFolder(config.folder) for config in configs]
    if all(folder.result.exists() for folder in folders):
        for folder in folders:
            folder.remove()
    results = []
    for config in configs:
        with answered_signals(), display.learning() as on_progress:
            results.append(execute(config, say=display.say, on_progress=on_progress))
    if common.json:
        emit([{**result, "folder": str(config.folder)} for result, config in zip(results, configs, strict=True)])
        return 0
    for result, config in zip(results, configs, strict=True):
        show(result, config.folder)
    return 0
