"""Lets the pages be plain Markdown that a code host shows well, and makes Sphinx's directives of it when it reads them.

A list below a bold caption in `index.md` and `components.md` becomes a toctree; its items are links to pages, and names
in code for the pages that are written from the code. A link to a file or folder of the project, outside of `docs/`,
becomes one to the page that is made of it. `contributing` and `security` are the files of these names.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
WITH_LISTS = ("index", "components")
COPIES = {"contributing": "CONTRIBUTING.md", "security": "SECURITY.md"}
PAGES = {
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "src/reprogram/__init__.py": "reference/api",
    "src/reprogram/augmentations": "reference/augmentations",
    "src/reprogram/learners": "reference/learners",
    "src/reprogram/runs/recipes": "reference/recipes",
    "src/reprogram/tasks": "reference/tasks",
    "results/ablation": "reference/ablation",
    "results/learning": "reference/learning",
    "results/paper": "reference/paper",
    "results/paper-discriminant": "reference/paper-discriminant",
    "results/reached": "reference/reached",
}
"""The page that is made of a file or folder of the project."""
LIST = re.compile(r"\*\*(?P<caption>[^*\n]+)\*\*\n\n(?P<items>(?:- .*\n)+)")
ITEM = re.compile(r"- (?:\[[^\]]*\]\((?P<link>[\w/-]+)\.md\)|`(?P<name>[\w/-]+)`).*")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", lambda app, name, source: source.__setitem__(0, read(name, source[0])))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def read(name: str, text: str) -> str:
    """A page as Sphinx reads it.

    Args:
        name: the page's name, such as `cli`.
        text: the page as it is stored.

    Raises:
        KeyError: a link leads to a file of the project that no page is made of.
    """
    if name in COPIES:
        return (ROOT / COPIES[name]).read_text(encoding="utf-8")
    if name in WITH_LISTS:
        text = LIST.sub(lambda found: _toctree(found["caption"], found["items"]), text)
    return re.sub(r"\]\(\.\./([^)#]+)", lambda found: f"]({PAGES[found[1]]}.md", text)


def _toctree(caption: str, items: str) -> str:
    pages = [found["link"] or found["name"] for found in map(ITEM.fullmatch, items.splitlines()) if found]
    return "\n".join(["```{toctree}", f":caption: {caption}", ":maxdepth: 1", "", *pages, "```", ""])
