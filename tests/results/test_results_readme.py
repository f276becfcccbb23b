"""results/README.md names every folder, and what it names is there."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
TEXT = (RESULTS / "README.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| `")]
CODE = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))


def test_every_folder_has_a_line() -> None:
    there = {"results/"} | {f"results/{path.name}/" for path in RESULTS.iterdir() if path.is_dir()}
    named = [row[0].strip("`") for row in ROWS]
    assert sorted(named) == sorted(there)
    assert all(row[1].endswith("?") and row[2] and row[3] for row in ROWS)


@pytest.mark.parametrize("code", [code for code in CODE if re.match(r"(results|docs|benchmarks)/", code)])
def test_a_named_path_exists(code: str) -> None:
    assert (ROOT / code).exists()


@pytest.mark.parametrize("code", [code for code in CODE if re.match(r"(make|python|reprogram) ", code)])
def test_a_named_command_exists(code: str) -> None:
    program, what, *arguments = code.split()
    if program == "make":
        assert re.search(rf"^{what}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program == "python":
        assert (ROOT / what).is_file()
    else:
        assert f"reprogram {what}" in (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for path in (argument for argument in arguments if argument.startswith("results/")):
        assert (ROOT / path).exists()


def test_the_named_pages_are_in_the_documentation() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = re.findall(r"^- (?:\[.*\]\(|`)([\w/-]+)(?:\.md\)|`)$", index, re.MULTILINE)
    for row in ROWS:
        page = row[3].partition("`")[2].partition("`")[0]
        assert page in pages, row[0]


def test_the_named_columns_are_in_an_index() -> None:
    columns: set[str] = set()
    for index in RESULTS.rglob("index.csv"):
        with index.open(newline="", encoding="utf-8") as file:
            columns |= set(next(csv.reader(file)))
    _, _, meanings = TEXT.partition("## What the columns mean")
    for line in (line for line in meanings.splitlines() if line.startswith("| `")):
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            assert any(column.startswith(name.strip(".")) or column.endswith(name.strip(".")) for column in columns), (
                name
            )


def test_the_example_finds_what_it_says() -> None:
    """MNIST on ResNet-18 with the first ten labels: the search in the page, done here, and the line that it shows."""
    searched = re.search(r'grep -r "\^([^"]+)" results --include=index.csv', TEXT)
    assert searched
    hits = [
        (index, line)
        for index in RESULTS.rglob("index.csv")
        for line in index.read_text(encoding="utf-8").splitlines()
        if line.startswith(searched[1])
    ]
    assert len(hits) == 1
    index, line = hits[0]
    with index.open(newline="", encoding="utf-8") as file:
        head = next(csv.reader(file))
    cells = dict(zip(head, next(csv.reader([line])), strict=True))
    cells |= {"index": f"`{index.relative_to(ROOT).as_posix()}`"}
    cells |= {"interval": f"{cells['interval low']} to {cells['interval high']}"}
    shown = [[cell.strip() for cell in row.strip("|").split("|")] for row in TEXT.splitlines() if "| index |" in row]
    _, _, rest = TEXT.partition("| index |")
    values = [cell.strip() for cell in rest.splitlines()[2].strip("|").split("|")]
    assert values == [cells[column] for column in shown[0]]
    assert f"`{cells['file']}`" in TEXT
    assert (index.parent / cells["file"]).is_file()
