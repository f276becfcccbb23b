"""Every Markdown page reads well on a code host too: no roles or directives of Sphinx, and no dead links."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from helpers import ROOT

SKIPPED = {".git", ".venv", ".venv-tools", "node_modules", "_build", "reference", "runs", "build", "dist"}
LINK = re.compile(
    r"!?\[(?:[^\]\\]|\\.)*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:a|img)[^>]*\b(?:href|src)=\"([^\"]+)\""
)


def pages():
    """All pages of the project: those that git knows, or in a copy without git all that isn't made by a build."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
        return sorted(path for path in found if path.exists())
    return sorted(p for p in ROOT.rglob("*.md") if not SKIPPED & set(p.relative_to(ROOT).parts[:-1]))


def prose(path):
    """A page's lines outside of blocks of code, without code in the line."""
    text = re.sub(r"^( *)(`{3,}|~{3,})[^`\n]*\n.*?^\1\2 *$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


def anchors(path):
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(
        r"^#+ +(.*?) *#*$", re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S), re.M
    )
    names = []
    for heading in headings:
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        names.append(f"{name}-{names.count(name)}" if name in names else name)
    return names


def leads(target, anchor):
    """Whether a file or folder of the project is there, not made by a build, and a page has this heading."""
    if not (target == ROOT or ROOT in target.parents) or not target.exists():
        return False
    built = {"_build", "reference"} & set(target.relative_to(ROOT).parts)
    return not built and (not anchor or target.suffix != ".md" or anchor in anchors(target))


PAGES = pages()
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_nothing_is_written_that_only_sphinx_understands(path):
    text = path.read_text(encoding="utf-8")
    raw = [
        *re.findall(r"\{[a-z][\w:.+-]*\}`[^`]*`", text),  # Roles of MyST.
        *re.findall(r"(?<![\w`]):[a-z]+(?::[a-z]+)*:`[^`]+`", text),  # Roles of reStructuredText.
        *re.findall(r"^ *(?:`{3,}|~{3,}|:{3,})\{.*", text, re.M),  # Directives of MyST.
        *re.findall(r"^\.\. [a-z-]+::.*", text, re.M),  # Directives of reStructuredText.
        *re.findall(r"^\([\w-]+\)=$", text, re.M),  # Targets of MyST.
    ]
    assert raw == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_relative_link_leads_to_what_is_there(path):
    dead = []
    for match in LINK.finditer(prose(path)):
        link = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.I):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        if not leads(target, anchor):
            dead.append(link)
    assert dead == []


def test_the_pages_are_found():
    assert {"README.md", "CHANGELOG.md", "docs/index.md", "results/paper/README.md"} <= set(NAMES)


def test_the_links_to_files_of_the_project_are_pages_in_the_documentation(monkeypatch):
    pytest.importorskip("sphinx")  # Of the extra that `make docs` installs.
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    codehost = __import__("codehost")
    assert all((ROOT / name).exists() for name in codehost.PAGES)
    for path in (ROOT / "docs").glob("*.md"):
        read = codehost.read(path.stem, path.read_text(encoding="utf-8"))
        assert "](../" not in read or path.stem in codehost.COPIES, path
    index = codehost.read("index", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert index.count("```{toctree}") == 6 and "\nreference/few-shot\n" in index and "\ntutorial\n" in index
    assert Path(codehost.ROOT) == ROOT
