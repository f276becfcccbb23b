"""The page of the paper's experiments as they were run here: made from results/paper, like the report."""

from pathlib import Path

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import Block, Picture, Strip, find, names
from reprogram.paper.page import circumstances, in_order, markdown

ROOT = Path(__file__).parents[2]


def page(folder: Path = ROOT / "results" / "paper") -> str:
    """All sections that have finished runs."""
    book = Book(folder)
    lines = [
        "# The paper's experiments, run here",
        "",
        "Made from the files in `results/paper/`; `reprogram paper report --out results/paper` makes the same as one "
        "HTML file. {doc}`../paper` says how they were run, and how they compare with the paper. An accuracy whose "
        "95 % interval holds what guessing gives is marked *at chance*.",
    ]
    results = {}
    for name in in_order(names()):
        rows = book.rows(name)
        if not rows:
            continue
        results |= {row.folder.name: row.result for row in rows}
        experiment = find(name)
        lines += ["", f"## {experiment.title}", "", experiment.question, ""]
        lines += [text for block in experiment.show(book) if (text := _text(block))]
    lines += ["", "## Circumstances", "", *(f"- {line}" for line in circumstances(results))]
    return "\n".join(lines) + "\n"


def _text(block: Block) -> str:
    if isinstance(block, Picture):
        return f'<p><img src="{block.source}" alt="" width="640"></p>\n'
    if isinstance(block, Strip):
        cells = "".join(
            f'<td><img src="{picture.source}" alt="" width="150"><br><small>{picture.caption}</small></td>'
            for picture in block.pictures
        )
        return f"{block.caption}\n\n<table><tr>{cells}</tr></table>\n"
    return markdown(block)
