"""`reprogram runs`: list, show, compare and remove the runs of a folder, and rebuild their index."""

import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from reprogram.cli._comparing import comparison_table, histories_of, names_of
from reprogram.cli._completers import run_names
from reprogram.cli.console import emit, table
from reprogram.cli.usage import refuse_empty
from reprogram.cli.varying import option_text, varying_columns
from reprogram.errors import ConfigError
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import RunIndex
from reprogram.runs.record import Record
from reprogram.utils.files import exists, user_path
from reprogram.utils.text import difference, printable

SCHEMA = 1
Key = Literal["name", "state", "task", "host", "program", "seed", "accuracy", "worth", "began", "ended", "seconds"]
MEASURES = {"accuracy": ("test", "accuracy"), "worth": ("program_worth", "difference")}
"""A record's field and the number in it, by the key that sorts by it."""
State = Literal["running", "interrupted", "finished", "failed"]
Flag = Annotated[bool, Parameter(negative=())]
Run = Annotated[str, Parameter(completer=run_names)]
Folder = Annotated[Path, Parameter(env_var="REPROGRAM_RUNS")]

runs_command = App(
    name="runs", help_format="plaintext", config=refuse_empty
)  # No variables: REPROGRAM_TASK is for fit.


@runs_command.command(name="list")
def list_runs(
    *,
    runs: Folder = Path("runs"),
    task: str | None = None,
    host: str | None = None,
    program: str | None = None,
    state: State | None = None,
    sort: Key = "began",
    reverse: Flag = False,
    json: Flag = False,
) -> int:
    """List the runs, the newest last.

    Of the options, those are shown in which the runs differ; reprogram runs show has all of them.

    Patterns are shell-style: * and ? are wildcards. "squares" also matches what has options: "squares(train=100)".

    Args:
        runs: the folder that the run folders lie in.
        task: only runs of tasks that match.
        host: only runs on hosts that match.
        program: only runs with programs that match.
        state: only runs in it.
        sort: by what; runs that don't have it come first.
        reverse: the other way round.
        json: print it as JSON.
    """
    found = RunIndex(runs).runs()
    if not found and exists(runs / "config.toml"):
        raise ConfigError(f"{runs}: is the folder of one run; reprogram runs show {runs} shows it")
    patterns = {"task": task, "host": host, "program": program}
    records = [
        record
        for record in found
        if state in (None, record["state"])
        and all(pattern is None or _matches(_text(record, key), pattern) for key, pattern in patterns.items())
    ]
    records.sort(key=lambda record: _order(record, sort), reverse=reverse)
    if json:
        emit({"schema": SCHEMA, "runs": [_with_folder(record, runs) for record in records]})
        return 0
    columns = varying_columns([record["config"] for record in records])
    if len(records) < 2:
        columns = {key: [_text(record, key) for record in records] for key in ("task", "host", "program", "seed")}
    heads = ("name", "state", *(key.replace("_", " ") for key in columns))
    measures = ("test accuracy", "n", "95 % interval", "worth of the program", "began")
    rows = [
        (r["name"], r["state"], *options, *_accuracy(r["test"]), _worth(r["program_worth"]), _time(r["began"]))
        for r, *options in zip(records, *columns.values(), strict=True)
    ]
    table([(*heads, *measures), *rows], headed=True)
    return 0


@runs_command.command
def show(run: Run, /, *, runs: Folder = Path("runs"), json: Flag = False) -> int:
    """Show what is known of a run.

    Args:
        run: its name, or the path of its folder.
        runs: the folder that the run folders lie in.
        json: print it as JSON.
    """
    store, name = _located(run, runs)
    record = store.run(name)
    if json:
        emit({"schema": SCHEMA, **_with_folder(record, store.folder)})
        return 0
    rows: list[tuple[object, ...]] = [(key, record[key]) for key in ("name", "state", "error", "began", "ended")]
    rows += [(key, record[key]) for key in ("images_seen", "seconds")]
    rows += [(key, *_accuracy(value)) for key, value in _accuracies(record).items()]
    rows += [(f"bill: {key}", value) for key, value in record["bill"].items()]
    rows += [("program_worth", _worth(record["program_worth"]) or None)]
    rows += [(key, option_text(value)) for key, value in record["config"].items()]
    table([row for row in rows if row[1] not in (None, "")])
    return 0


@runs_command.command
def compare(
    *names: Run,
    runs: Folder = Path("runs"),
    format: Literal["markdown", "csv", "latex"] | None = None,
    curves: Path | None = None,
    json: Flag = False,
) -> int:
    """Show side by side what differs in the configurations of runs, and their accuracies with 95 % intervals.

    Args:
        names: two or more runs' names, or paths of their folders.
        runs: the folder that the run folders lie in.
        format: print a table with a row for each run, for a text, a spreadsheet or a paper.
        curves: write the runs' validations and losses as one picture into this .svg, .png or .pdf file.
        json: print it as JSON.
    """
    if len(names) < 2:
        raise ConfigError("runs compare takes two or more runs; reprogram runs list shows them")
    if json and format is not None:
        raise ConfigError("runs compare: --json and --format are two ways to print it; leave one of them out")
    located = [_located(name, runs) for name in names]
    records = [store.run(name) for store, name in located]
    if len({record["config"].get("loss") for record in records}) > 1:
        records = [_with_settled_loss(record) for record in records]
    folders = [RunFolder(store.folder / name) for store, name in located]
    if curves is not None:
        from reprogram.report.comparison import write_curves

        write_curves(curves, histories_of(folders))
    if format is not None:
        from reprogram.report.comparison import TABLES

        print(TABLES[format](*comparison_table(records, folders)), end="")
        return 0
    configs = [record["config"] for record in records]
    keys = dict.fromkeys(key for config in configs for key in config if key != "out")
    differences = {
        key: [config.get(key) for config in configs]
        for key in keys
        if any(config.get(key) != configs[0].get(key) for config in configs)
    }
    measures = dict.fromkeys(key for record in records for key in _accuracies(record))
    accuracies = {key: [_accuracies(record).get(key) for record in records] for key in measures}
    states, worths = ([record[key] for record in records] for key in ("state", "program_worth"))
    if json:
        comparison = {"runs": list(names), "states": states, "differences": differences, "accuracies": accuracies}
        emit({"schema": SCHEMA, **comparison, "program_worth": worths})
        return 0
    rows: list[tuple[object, ...]] = [("", *names_of(folders)), ("state", *states)]
    rows += [(key, *map(option_text, values)) for key, values in differences.items()]
    for key, values in accuracies.items():
        rows.append((key, *(" ".join(_accuracy(value)).strip() for value in values)))
    rows += [("program_worth", *map(_worth, worths))] if any(worths) else []
    table(rows, headed=True)
    return 0


@runs_command.command
def remove(*names: Run, runs: Folder = Path("runs"), json: Flag = False) -> int:
    """Remove runs: the files that they wrote, and their folders where nothing else is in them.

    A run that goes on is refused. Nothing is removed unless all names are of runs.

    Args:
        names: one or more runs' names, or paths of their folders.
        runs: the folder that the run folders lie in.
        json: print it as JSON.
    """
    if not names:
        raise ConfigError("runs remove takes the names of runs; reprogram runs list shows them")
    located = [_located(name, runs) for name in dict.fromkeys(names)]
    for store, name in located:
        if store.run(name)["state"] == "running":
            raise ConfigError(f"{store.folder / name}: goes on; stop it first")
    results = []
    for store, name in located:
        other_files = store.remove(name)
        results.append({"name": name, "folder": str(store.folder / name), "left": other_files})
        if other_files:
            some = ", ".join(other_files[:3]) + (", ..." if len(other_files) > 3 else "")
            print(printable(f"{store.folder / name}: kept, for it also holds {some}"), file=sys.stderr)
        if not json:
            print(printable(f"removed {store.folder / name}"))
    if json:
        emit({"schema": SCHEMA, "removed": results})
    return 0


@runs_command.command
def rebuild(*, runs: Folder = Path("runs"), json: Flag = False) -> int:
    """Make the index of the runs anew from their files.

    Args:
        runs: the folder that the run folders lie in.
        json: print it as JSON.
    """
    store = RunIndex(runs)
    count = store.rebuild()
    if json:
        emit({"schema": SCHEMA, "database": str(store.path), "runs": count})
    else:
        print(printable(f"{store.path}: {count} runs"))
    return 0


def _located(run: str, runs: Path) -> tuple[RunIndex, str]:
    """The index and the name of a run, from its name or its folder's path; a bare name is looked up in `runs` first."""
    path, index = user_path(run, "RUN"), RunIndex(runs)
    if path.name in ("", ".."):  # The current folder, or one above it.
        path = path.resolve()
    by_path = RunIndex(path.parent)
    is_name = path.name == run
    return (index if is_name and (index.holds(run) or not by_path.holds(run)) else by_path), path.name


def _with_folder(record: Record, runs: Path) -> Record:
    """A record with the path of its run folder."""
    return {"name": record["name"], "folder": str(runs / record["name"]), **record}


def _text(record: Record, key: str) -> str:
    """A value of a record or of its configuration as text; empty where it is missing."""
    value = record.get(key, record["config"].get(key))
    return "" if value is None else str(value)


def _matches(spec: str, pattern: str) -> bool:
    """Whether a spec, or its name without options, matches a shell-style pattern."""
    return fnmatchcase(spec, pattern) or fnmatchcase(re.split(r"[(?]", spec)[0], pattern)


def _order(record: Record, key: Key) -> tuple[Any, ...]:
    """A sort key: missing values first, then numbers by size, then words by the alphabet; ties by the run's name."""
    value = record.get(key, record["config"].get(key))
    if key in MEASURES:
        measure, field = MEASURES[key]
        value = (record[measure] or {}).get(field)
    if value is None:
        return (0, 0, "", record["name"])
    return (1, value, "", record["name"]) if isinstance(value, int | float) else (2, 0, str(value), record["name"])


def _with_settled_loss(record: Record) -> Record:
    """A record whose loss is the one that its run minimises; runs that aren't finished may still say "auto"."""
    config = record["config"]
    if config.get("loss") != "auto" or not isinstance(config.get("label_map"), str):
        return record
    from reprogram.training.losses import settled_by_spec  # It loads PyTorch.

    return {**record, "config": {**config, "loss": settled_by_spec("auto", config["label_map"])}}


def _accuracies(record: Record) -> dict[str, Record]:
    """The accuracies of a run and of its baselines, as far as they were measured."""
    accuracies = {key: record[key] for key in ("validation", "test", "top_label")} | record["baselines"]
    return {key: value for key, value in accuracies.items() if value is not None}


def _accuracy(value: Record | None) -> tuple[str, str, str]:
    """An accuracy, its n and its interval as text; empty where it wasn't measured."""
    if value is None:
        return "", "", ""
    low, high = value["interval"] or (None, None)
    number = "" if value["n"] is None else f"n={value['n']}"
    return f"{value['accuracy']:.4f}", number, "" if low is None else f"{low:.4f} to {high:.4f}"


def _worth(value: Record | None) -> str:
    """What a program is worth, with its interval; empty where it wasn't measured."""
    return "" if value is None else difference(value["difference"], value["interval"])


def _time(text: str | None) -> str:
    """Date, hour and minute of an ISO time."""
    return (text or "")[:16].replace("T", " ")
