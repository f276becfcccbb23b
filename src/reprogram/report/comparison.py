"""Several runs beside each other: their curves in one picture, and a table as Markdown, CSV, LaTeX or a page."""

import csv
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.report.figures import figure_of, svg
from reprogram.utils.files import write_atomic
from reprogram.utils.text import cut, printable

PICTURES = ("svg", "png", "pdf")
"""The formats of pictures, which are the files' endings."""
MOST_NAME = 40
"""Characters of a run's name in the picture's legend."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "td,th{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid #dde}img{max-width:100%}"
)

Rows = Sequence[Sequence[object]]
Histories = Mapping[str, Sequence[Mapping[str, float]]]


def as_markdown(heads: Sequence[str], rows: Rows) -> str:
    """A table as Markdown, in which no text means anything.

    Args:
        heads: of the columns.
        rows: cells of each row.
    """

    def line(cells: Sequence[object]) -> str:
        return (
            "| "
            + " | ".join("".join(f"\\{c}" if c in "\\`*_[]|<&~" else c for c in _text(cell)) for cell in cells)
            + " |"
        )

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)]) + "\n"


def as_csv(heads: Sequence[str], rows: Rows) -> str:
    """A table as comma-separated values (RFC 4180).

    Args:
        heads: of the columns.
        rows: cells of each row.
    """
    out = io.StringIO(newline="")
    csv.writer(out).writerows([heads, *([_text(cell) for cell in row] for row in rows)])
    return out.getvalue()


def as_latex(heads: Sequence[str], rows: Rows) -> str:
    r"""A table as a `tabular` of LaTeX with the rules of the package booktabs; numbers stand to the right.

    Args:
        heads: of the columns.
        rows: cells of each row.
    """

    def line(cells: Sequence[object]) -> str:
        text = " & ".join("".join(_LATEX.get(c, c) for c in _text(cell)) for cell in cells) + r" \\"
        return f"{{}}{text}" if text[0] in "[*" else text  # Or they would be arguments of the rule or row before.

    numeric = [all(isinstance(row[i], int | float) or row[i] in (None, "") for row in rows) for i in range(len(heads))]
    columns = "".join("r" if is_number else "l" for is_number in numeric)
    body = "\n".join(map(line, rows))
    return (
        f"% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{line(heads)}\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


TABLES = {"markdown": as_markdown, "csv": as_csv, "latex": as_latex}
"""The texts of a table, by the formats' names."""


def curves(histories: Histories) -> Any:
    """A figure of the validation accuracy and the training loss of several runs against the images seen.

    Args:
        histories: the rows of each run's `history.jsonl`, by the run's name; runs without rows are left out.
    """
    figure = figure_of(8, 3.4)
    axes = figure.subplots(1, 2)
    for name, rows in histories.items():
        if not rows:
            continue
        label = cut(printable(name), MOST_NAME).replace("$", r"\$")
        label = f" {label}" if label.startswith("_") else label  # Matplotlib leaves out what begins so.
        for part, key in zip(axes, ("validation_accuracy", "loss"), strict=True):
            part.plot([row["images"] for row in rows], [row[key] for row in rows], "o-", markersize=3, label=label)
    axes[0].set(xlabel="training images seen", ylabel="validation accuracy", ylim=(0, 1))
    axes[1].set(xlabel="training images seen", ylabel="training loss (nats)")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
    return figure


def write_curves(path: Path, histories: Histories) -> Path:
    """Write the figure of `curves`.

    Args:
        path: the file, which ends in one of `PICTURES`.
        histories: as there.

    Raises:
        ConfigError: the file ends in something else.
        WriteError: it can't be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in PICTURES:
        raise ConfigError(f"{path}: ends in none of .{', .'.join(PICTURES)}; name it so")
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "reprogram"}):
        curves(histories).savefig(out, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return write_atomic(path, out.getvalue())


def write_page(path: Path, heads: Sequence[str], rows: Rows, histories: Histories) -> Path:
    """Write the table and the curves of several runs as one HTML file with everything in it.

    Args:
        path: the file.
        heads: of the table's columns.
        rows: cells of each row.
        histories: as `curves` takes them.
    """

    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(_text(cell))}</{tag}>" for cell in cells) + "</tr>"

    table = "\n".join([line(heads, "th"), *(line(row, "td") for row in rows)])
    text = (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{len(rows)} runs</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head>\n'
        f"<body>\n<h1>{len(rows)} runs</h1>\n"
        f'<img alt="validation accuracy and training loss of each run" src="{svg(curves(histories))}">\n'
        f"<table>\n{table}\n</table>\n</body>\n</html>\n"
    )
    return write_atomic(path, text.encode())


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.6g}"
    return "" if cell is None else printable(cell)
