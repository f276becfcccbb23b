"""What `runs compare` and `report` show of several runs: a row for each, and their histories."""

from collections.abc import Sequence
from typing import Any

from reprogram.cli.varying import varying_columns
from reprogram.runs.folder import RunFolder
from reprogram.runs.record import Record, read_history

Table = tuple[list[str], list[list[Any]]]

MEASURED = ("images", "seconds")
"""Columns that say what a run took; options of these names are budgets, and are called so."""


def comparison_table(records: Sequence[Record], folders: Sequence[RunFolder]) -> Table:
    """The table of several runs: the options in which they differ, then what was measured.

    Args:
        records: of the runs.
        folders: theirs, by which runs of one name are told apart.

    Returns:
        The heads of the columns, and the cells of each run's row; None for what isn't known.
    """
    columns = varying_columns([record["config"] for record in records])
    baselines = sorted({name for record in records for name, value in record["baselines"].items() if value})
    options_named = [name.replace("_", " ") + " budget" * (name in MEASURED) for name in columns]
    heads = ["run", "state", *options_named]
    heads += ["test accuracy", "low", "high", "n", "worth", "worth low", "worth high"]
    heads += [*(name.replace("_", " ") for name in baselines), "validation", *MEASURED]
    rows = []
    for index, (record, name) in enumerate(zip(records, names_of(folders), strict=True)):
        options = [values[index] for values in columns.values()]
        measured = [*_numbers(record["test"], "accuracy", "n"), *_numbers(record["program_worth"], "difference")]
        others = [_first(record["baselines"].get(name)) for name in baselines]
        rest = [_first(record["validation"]), record["images_seen"], record["seconds"]]
        rows.append([name, record["state"], *options, *measured, *others, *rest])
    return heads, rows


def names_of(folders: Sequence[RunFolder]) -> list[str]:
    """What several runs are called beside each other: their names; runs of one name by their folders' paths.

    Args:
        folders: of the runs.
    """
    names = [folder.path.name for folder in folders]
    return [name if names.count(name) == 1 else str(folder.path) for name, folder in zip(names, folders, strict=True)]


def histories_of(folders: Sequence[RunFolder]) -> dict[str, list[dict[str, float]]]:
    """The validations of several runs, by what `names_of` calls them.

    Args:
        folders: of the runs.
    """
    return {name: read_history(folder.history) for name, folder in zip(names_of(folders), folders, strict=True)}


def _numbers(value: Record | None, key: str, *more: str) -> list[float | None]:
    """A measured number, the ends of its interval, and further fields."""
    value = value or {}
    low, high = value.get("interval") or (None, None)
    return [value.get(key), low, high, *(value.get(name) for name in more)]


def _first(value: Record | None) -> float | None:
    return (value or {}).get("accuracy")
