"""The pages of the paper's experiments as they were run here: made from folders of results/, like the report."""

from html import escape
from pathlib import Path

import kept

from reprogram.paper.experiments.base import Block, Picture, Strip, Table, find, names
from reprogram.paper.page import circumstances, in_order, markdown
from reprogram.paper.store import ResultStore
from reprogram.paper.tables import WORTH

ROOT = Path(__file__).parents[2]


INTRO = {
    "paper": (
        "The paper's experiments, run here",
        "As in the paper the host's first ten labels are read, and the loss is the paper's over all labels. Digits and "
        "photographs are shown at 36 pixels; batch and budget differ. {doc}`../paper` says how these were run, and how "
        "they compare with the paper.",
    ),
    "paper-discriminant": (
        "The paper's experiments, with a discriminant",
        "As {doc}`paper`, but the answer is read from all host scores, by Fisher's linear discriminant (recipe "
        "`best`), and not from ten of the host's labels; and runs see fewer images. So the label map alone, without "
        "any program, already tells much, and stands beside. {doc}`../paper` says what follows from it.",
    ),
}
"""Title and introduction of each folder."""


def page(name: str) -> str:
    """All sections of a folder that have planned runs, and a line for each finished one."""
    book = ResultStore(ROOT / "results" / name)
    title, introduction = INTRO[name]
    lines = [
        f"# {title}",
        "",
        f"{introduction} Made from the files in `results/{name}/`; `reprogram paper report --out results/{name}` makes "
        f"the same as one HTML file. An accuracy whose 95 % interval holds what guessing gives is marked *at chance*. "
        f"{WORTH}",
    ]
    results = {}
    for each in in_order(names()):
        rows, unfinished = book.rows(each), book.unfinished(each)
        if not rows and not unfinished:
            continue
        results |= {row.folder.name: row.result for row in rows}
        experiment = find(each)
        lines += ["", f"## {experiment.title}", "", experiment.question, ""]
        if unfinished:
            lines += [f"{len(rows)} of {len(rows) + len(unfinished)} planned runs are finished.", ""]
        lines += [text for block in experiment.show(book) if rows and (text := _text(block))]
    table = [
        [run, f"{r['images_seen']:,}", f"{r['selected_step']:,}"]
        + [f"{r[split]['accuracy']:.4f}" for split in ("validation", "test")]
        + [kept.worth(r), f"{r['test']['n']:,}"]
        for run, r in sorted(results.items())
    ]
    head = ["run", "images seen", "step chosen", "validation", "test", "worth", "n"]
    lines += ["", "## The runs", "", markdown(Table(head=head, rows=table, caption="One line a run, by its folder."))]
    lines += ["", "## Circumstances", "", *(f"- {line}" for line in circumstances(results))]
    return "\n".join(lines) + "\n"


def _text(block: Block) -> str:
    if isinstance(block, Picture):
        return f'<p><img src="{block.source}" alt="{escape(block.caption)}" width="640"></p>\n'
    if isinstance(block, Strip):
        captions = [escape(picture.caption) for picture in block.pictures]
        cells = "".join(
            f'<td><img src="{picture.source}" alt="{caption}" width="150"><br><small>{caption}</small></td>'
            for picture, caption in zip(block.pictures, captions, strict=True)
        )
        return f"{block.caption}\n\n<table><tr>{cells}</tr></table>\n"
    return markdown(block)
