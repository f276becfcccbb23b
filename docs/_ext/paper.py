"""The pages of the paper's experiments as they were run here: made from folders of results/, like the report."""

from pathlib import Path

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import Block, Picture, Strip, find, names
from reprogram.paper.page import circumstances, in_order, markdown

ROOT = Path(__file__).parents[2]


INTRO = {
    "paper": (
        "The paper's experiments, run here",
        "The attack is the paper's: the task image at its own size, the host's first ten labels. "
        "{doc}`../paper` says how they were run, and how they compare with the paper.",
    ),
    "paper-discriminant": (
        "The paper's experiments, with a discriminant",
        "As {doc}`paper`, with one thing changed: the answer is read from all host scores, by Fisher's linear "
        "discriminant (recipe `best`), and not from ten of the host's labels. So the label map alone, without any "
        "program, already tells much, and stands beside. {doc}`../paper` says what follows from it.",
    ),
}
"""Title and introduction of each folder."""


def page(name: str) -> str:
    """All sections of a folder that have finished runs."""
    book = Book(ROOT / "results" / name)
    title, introduction = INTRO[name]
    lines = [
        f"# {title}",
        "",
        f"{introduction} Made from the files in `results/{name}/`; `reprogram paper report --out results/{name}` makes "
        "the same as one HTML file. An accuracy whose 95 % interval holds what guessing gives is marked *at chance*.",
    ]
    results = {}
    for name in in_order(names()):
        rows = book.rows(name)
        if not rows:
            continue
        results |= {row.folder.name: row.result for row in rows}
        experiment = find(name)
        lines += ["", f"## {experiment.title}", "", experiment.question, ""]
        if unfinished := book.unfinished(name):
            lines += [f"{len(rows)} of {len(rows) + len(unfinished)} planned runs are finished.", ""]
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
