"""What tests of runs share: run folders that nothing was computed for, the command line, made-up results."""

import contextlib
import io
import json
import sqlite3

from reprogram.cli import main
from reprogram.evaluation.metrics import wilson_interval
from reprogram.paper.plan import with_choices
from reprogram.paper.preset import read_preset
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import RunIndex
from reprogram.utils.files import write_atomic

STATES = {"a": "finished", "b": "failed", "c": "interrupted", "d": "finished"}
"""Of `four_runs`."""


def measured(correct, n=50):
    """An accuracy as `result.json` holds it."""
    return {"accuracy": correct / n, "n": n, "interval": [correct / n - 0.1, correct / n + 0.1]}


def make_run(folder, state="finished", *, correct=25, error="NumberError: it was odd", **options):
    """A run's folder in that state, as `execute` leaves it, without the work."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.begin(RunConfig(**options))
    run.append_history([{"step": 5, "images": 80, "seconds": 1.5, "validation_accuracy": 0.25}])
    if state == "failed":
        run.end(error)
    elif state == "finished":
        run.end()
        result = {"test": measured(correct), "validation": measured(30), "baselines": {"chance": {"accuracy": 0.1}}}
        worth = {"difference": correct / 50 - 0.1, "n": 50, "interval": [correct / 50 - 0.2, correct / 50]}
        result |= {"program_worth": worth, "host_shows": {"top_label": measured(correct - 1)}}
        write_atomic(run.result, json.dumps(result | {"images_seen": 160, "seconds": 3.0}).encode())
    return run


def four_runs(folder):
    """The index of a folder of four runs in the `STATES`."""
    make_run(folder / "a", task="digits", seed=3)
    make_run(folder / "b", "failed", task="squares(train=9)")
    make_run(folder / "c", "interrupted", host="linear:40")
    make_run(folder / "d", correct=40, task="squares")
    return RunIndex(folder)


def index_rows(index):
    """The state of each run in an index, by name."""
    with contextlib.closing(sqlite3.connect(index.path)) as db:
        return dict(db.execute("SELECT name, state FROM reprogram_runs"))


def cli(*arguments):
    """Exit code, stdout and stderr of a call."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def runs_cli(*arguments):
    """Exit code, stdout and stderr of `reprogram runs`."""
    return cli("runs", *arguments)


def tiny_plan(**choices):
    """A plan of the paper on one host and one task."""
    return with_choices(read_preset("cpu"), hosts=["linear:32"], tasks=["digits"], **choices)


def made_up_result(correct, n, **baselines):
    """A result with an accuracy and baselines."""
    interval = list(wilson_interval(correct, n))
    return {
        "test": {"accuracy": correct / n, "n": n, "interval": interval},
        "baselines": {"chance": {"accuracy": 0.1}, **baselines},
    }


def finished_result():
    """A result with all that a run's measurements read."""
    machine = {"processor": "none", "cores": 1, "system": "none"}
    facts = {"machine": machine, "versions": {}, "device": "cpu", "threads": 1, "seed": 0, "learned_numbers": 3}
    return {**made_up_result(5, 10), "validation": {"accuracy": 0.5, "n": 10}, "images_seen": 320, **facts}
