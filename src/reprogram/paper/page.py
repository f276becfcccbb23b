"""The report of the paper's experiments: one HTML file, made from the result store alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reprogram.errors import DataError
from reprogram.paper.experiments.base import Block, Picture, Strip, Table, find, names
from reprogram.paper.published import THEIRS
from reprogram.paper.store import ResultStore, Row
from reprogram.utils.files import write_atomic
from reprogram.utils.text import printable

ORDER = (
    "table1",
    "baselines",
    "shuffled",
    "size",
    "amplitude",
    "concealed",
    "programs",
    "linear-host",
    "confidence",
    "transfer",
)
"""The order of the experiments in the report; others follow."""


def write_page(store: ResultStore, experiments: Sequence[str] = ()) -> Path:
    """Write `report.html` into the store's folder.

    Args:
        store: the results of the experiments.
        experiments: the experiments' names; by default all that were planned.

    Returns:
        The path of the page.

    Raises:
        DataError: a file of the store is damaged, or the page can't be written.
    """
    from jinja2 import Environment, PackageLoader

    sections: list[dict[str, Any]] = []
    runs: dict[str, Any] = {}
    for name in in_order(experiments or names()):
        rows, unfinished = store.rows(name), store.unfinished(name)
        if not rows and not unfinished:
            continue
        for row in rows:
            _require_numbers(row)
        runs |= {row.folder.name: _inert_result(row.result) for row in rows}
        experiment = find(name)
        try:
            content = experiment.show(store) if rows else []
            blocks = [(type(block).__name__, _inert(block)) for block in content]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"{store.folder}: what {name} reads is damaged ({type(error).__name__}: {error}); remove "
                f"facts/{name} there, or the damaged one of its runs, and run it again"
            ) from error
        section = {"name": name, "title": experiment.title, "question": experiment.question, "blocks": blocks}
        sections.append({**section, "unfinished": ", ".join(map(printable, unfinished))})
    environment = Environment(loader=PackageLoader("reprogram.paper", "."), autoescape=True)
    template = environment.get_template("page.html.j2")
    page = template.render(sections=sections, runs=runs, circumstances=circumstances(runs), theirs=THEIRS)
    return write_atomic(store.folder / "report.html", page.encode())


def in_order(experiments: Sequence[str]) -> list[str]:
    """The names of experiments in the order of the report.

    Args:
        experiments: the names in any order.
    """
    return sorted(experiments, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def circumstances(runs: dict[str, Any]) -> list[str]:
    """The machines, precisions and package versions of the runs, with the number of runs of each: a line each.

    Args:
        runs: the runs' `result.json` by name.
    """
    lines: dict[str, int] = {}
    for result in runs.values():
        versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
        precision = result.get("precision", "float32")  # Which early versions had no choice of.
        where = f"{result['machine']['processor']}, {result['device']}, {result['threads']} thread(s)"
        line = f"{where}; learned in {precision}; {versions}"
        lines[line] = lines.get(line, 0) + 1
    return [f"{count} runs: {line}" for line, count in lines.items()]


def markdown(block: Block) -> str:
    """A text or table of the report as Markdown; empty for pictures.

    Args:
        block: the block that an experiment shows.
    """
    if isinstance(block, str):
        return f"**{printable(block)}**\n"
    if not isinstance(block, Table):
        return ""
    lines = [block.head, ["---"] * len(block.head), *block.rows]
    text = "\n".join("| " + " | ".join(printable(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{block.caption}\n\n{text}\n"


def _require_numbers(row: Row) -> None:
    """Refuse a run whose result lacks what the tables and the list of the runs show."""
    result, path = row.result, row.folder / "result.json"
    try:
        for split in ("test", "validation"):
            if not (0 <= float(result[split]["accuracy"]) <= 1 and int(result[split]["n"]) > 0):
                raise ValueError(f"{split}: {result[split]['accuracy']} of {result[split]['n']} images")
        circumstances({row.folder.name: result})
        sum(map(int, (result["images_seen"], result["learned_numbers"], result["seed"])))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: damaged ({type(error).__name__}: {error}); remove {row.folder} and run the experiment again"
        ) from None


def _inert_result(result: dict[str, Any]) -> dict[str, Any]:
    """The same for the texts of a run's result that the list of the runs shows."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in result.items()}


def _inert(block: Block) -> Any:
    """The same block, without characters that could steer a terminal or a page."""
    if isinstance(block, Picture):
        return replace(block, caption=printable(block.caption))
    if isinstance(block, Strip):
        return replace(block, caption=printable(block.caption), pictures=[_inert(one) for one in block.pictures])
    if isinstance(block, Table):
        rows = [[printable(cell) for cell in row] for row in block.rows]
        return Table(head=[printable(cell) for cell in block.head], rows=rows, caption=block.caption)
    return printable(block)
