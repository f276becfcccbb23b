"""docs/code-map.md names every folder of the source, and no other."""

import re
from pathlib import Path

import reprogram
from helpers import ROOT

SOURCE = Path(reprogram.__file__).parent
PAGE = (ROOT / "docs" / "code-map.md").read_text(encoding="utf-8")


def folders():
    """Every folder of the package that holds files of its own."""
    found = {file.parent.relative_to(SOURCE) for file in SOURCE.rglob("*") if file.suffix in (".py", ".toml")}
    return {folder.as_posix() for folder in found} - {"."}


def first_column():
    """What the first column of the first table names; the row of the root modules has no folder."""
    table = re.search(r"(?m)^\| folder .*\n\|[-|: ]+\|\n((?:\|.*\n)+)", PAGE)[1]
    cells = [row.split("|")[1] for row in table.splitlines()]
    assert cells[0].strip() == "root modules"
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_folder_is_in_the_first_column_once():
    assert sorted(first_column()) == sorted(folders())


def test_every_folder_that_is_named_exists():
    """Also those in the other columns and in the table of what to add, which hold a slash."""
    page = re.sub(r"\{doc\}`[^`]*`", "", PAGE)
    named = {name for name in re.findall(r"`([a-z_]+/[a-z_/]*)`", page) if not name.startswith("src/")}
    missing = {name for name in named if not any((base / name).is_dir() for base in (SOURCE, ROOT))}
    assert missing == set()
