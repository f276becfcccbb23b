"""Several runs beside each other: tables that other programs read, the curves in one picture, one page."""

import csv
import io
import re

import pytest
from PIL import Image

import reprogram
from helpers_runs import cli, four_runs, runs_cli
from reprogram.report.comparison import as_csv, as_latex, as_markdown, curves, write_curves

HEADS = ["run", "a|b", "x"]
ROWS = [["one_1", "50 % & #1", 0.5], ["two", r"\$x^2$ {~}", None]]


def test_csv_is_read_back():
    assert list(csv.reader(io.StringIO(as_csv(HEADS, ROWS)))) == [
        HEADS,
        ["one_1", "50 % & #1", "0.5"],
        ["two", r"\$x^2$ {~}", ""],
    ]


def test_latex_has_no_bare_special_character():
    text = as_latex(HEADS, ROWS)
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    assert r"one\_1 & 50 \% \& \#1 & 0.5 \\" in body and "{llr}" in text
    bare = re.sub(r"\\(?:[&%$#_{}]|text[a-z]+\{\}|toprule|midrule|\\)", "", body)
    assert not set(bare) & set("%$#_{}~^\\|") and bare.count("&") == 6


def test_markdown_has_a_cell_for_each_column():
    lines = as_markdown(HEADS, ROWS).splitlines()
    assert lines[1] == "|---|---|---|"
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines)
    assert r"one\_1" in lines[2] and r"a\|b" in lines[0]


HISTORY = [
    {"images": 10, "loss": 2.0, "validation_accuracy": 0.3},
    {"images": 20, "loss": 1, "validation_accuracy": 0.6},
]


def test_all_runs_are_curves_of_one_picture(tmp_path):
    histories = {"_a": HISTORY, "b $x": [{**row, "validation_accuracy": 0.9} for row in HISTORY], "empty": []}
    accuracy, loss = curves(histories).axes
    assert [list(line.get_ydata()) for line in accuracy.lines] == [[0.3, 0.6], [0.9, 0.9]]
    assert [list(line.get_ydata()) for line in loss.lines] == [[2.0, 1], [2.0, 1]]
    assert [text.get_text() for text in accuracy.figure.legends[0].get_texts()] == [" _a", r"b \$x"]
    svg = write_curves(tmp_path / "a.svg", histories).read_bytes()
    assert b"<svg" in svg and svg.rstrip().endswith(b"</svg>")
    assert write_curves(tmp_path / "b.svg", histories).read_bytes() == svg
    with Image.open(write_curves(tmp_path / "a.png", histories)) as picture:
        assert picture.width > 800
    assert write_curves(tmp_path / "a.pdf", {}).read_bytes().startswith(b"%PDF")
    with pytest.raises(reprogram.ConfigError, match=r"\.svg"):
        write_curves(tmp_path / "a.gif", histories)


@pytest.mark.parametrize("name", ["[2cm]", "*x"])
def test_a_row_of_latex_is_no_argument_of_the_row_before(name):
    lines = as_latex(["run", "n"], [[name, 1], [name, 2]]).splitlines()
    rows = [line for line in lines if name in line]
    assert len(rows) == 2 and all(row.startswith("{}") for row in rows)


def test_markdown_shows_entities_and_strokes_as_they_are():
    assert r"\&lt; \~\~x\~\~" in as_markdown(["run"], [["&lt; ~~x~~"]])


def test_runs_compare_and_report(tmp_path):
    four_runs(tmp_path)
    code, out, err = runs_cli(
        "compare", "a", "d", "--runs", tmp_path, "--format", "csv", "--curves", tmp_path / "c.svg"
    )
    assert (code, err) == (0, "") and (tmp_path / "c.svg").exists()
    first, second = csv.DictReader(io.StringIO(out))
    assert (first["run"], first["test accuracy"], first["n"], first["worth"]) == ("a", "0.5", "50", "0.4")
    assert (second["test accuracy"], second["task"], second["chance"]) == ("0.8", "squares", "0.1")
    assert "tabular" in runs_cli("compare", "a", "d", "--runs", tmp_path, "--format", "latex")[1]
    assert runs_cli("compare", "a", "d", "--runs", tmp_path, "--format", "csv", "--json")[0] == 3
    code, out, err = cli("report", tmp_path / "a", tmp_path / "c", tmp_path / "d")
    assert (code, err) == (0, "") and out.strip() == str(tmp_path / "comparison.html")
    page = (tmp_path / "comparison.html").read_text()
    assert page.count("<tr>") == 4 and "interrupted" in page and "data:image/svg+xml" in page and "http" not in page
    code, _, err = cli("report", tmp_path / "a", tmp_path / "none")
    assert code == 3 and "holds no run" in err
    assert cli("report", tmp_path / "a", "--out", tmp_path / "x")[0] == 3
