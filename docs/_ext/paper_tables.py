"""The tables of docs/paper.md of the paper's other experiments: `python docs/_ext/paper_tables.py` writes them."""

import re
from pathlib import Path

from reprogram.paper.experiments.base import Table, find
from reprogram.paper.page import markdown
from reprogram.paper.store import ResultStore

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "paper.md"
RESULTS = ROOT / "results" / "paper"
BEGIN, END = "<!-- tables of {}: written by make results -->", "<!-- end of {} -->"


def page(text: str, folder: Path = RESULTS) -> str:
    """A page's text with the tables as they should be: those of each experiment for which it has a place.

    Args:
        text: the page.
        folder: the results.
    """
    places = re.findall(BEGIN.format(r"([\w-]+)"), text)
    for name in places:
        blocks = [markdown(block) for block in find(name).show(ResultStore(folder)) if isinstance(block, Table)]
        begin, end = BEGIN.format(name), END.format(name)
        written = "\n".join([begin, "", *blocks, end])
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, new=written: new, text, flags=re.S)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
