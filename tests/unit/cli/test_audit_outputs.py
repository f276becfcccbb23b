"""`reprogram audit --format`: what goes to stdout and into files, and which exit code it ends with."""

import json
import re

import pytest
from junitparser import JUnitXml

from reprogram.auditing.file import read_report
from reprogram.auditing.self_test import Case, Expected
from reprogram.cli import main
from reprogram.evaluation import from_scratch

HOST = "known-answer:constant"
GRID = [
    "--tasks",
    "parity(train=160, validation=80, test=60)",
    "--rungs",
    "gradient",
    "--budgets",
    "400",
    "--seeds",
    "0",
]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """A finished audit: what is given to it again asks nothing."""
    out = tmp_path_factory.mktemp("audits") / "audit"
    where = ["--executor", "inline", "--device", "cpu", "--out", str(out)]
    command = ["audit", HOST, *GRID, "--shots", "10", "--test-images", "50", *where]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(from_scratch, "learn", lambda *_, **__: None)
        assert main([*command, "--quiet"]) == 0
    return out, command


def test_a_page_is_written_without_being_asked_for(audit):
    out, _ = audit
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_one_format_alone_goes_to_stdout_and_sarif_ends_with_0(audit, capsys):
    out, command = audit
    bill = read_report(out).bill
    assert main([*command, "--fail-above=-1@gradient", "--format", "sarif", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((out / "audit.sarif").read_text(encoding="utf-8"))
    assert "above --fail-above" in printed.err
    assert main([*command, "--fail-above=-1@gradient", "--format", "junit", "--quiet"]) == 10
    assert JUnitXml.fromstring(capsys.readouterr().out.encode()).tests >= 1
    again = read_report(out).bill  # Nothing but what the loading of a function asks.
    assert again.images - again.beside == bill.images - bill.beside


def test_several_formats_are_files_whose_names_are_printed(audit, capsys):
    out, command = audit
    assert main([*command, "--format", "markdown", "cyclonedx(version='1.7')", "--quiet"]) == 0
    printed = capsys.readouterr().out
    for name in ("audit.json", "report.html", "audit.md", "audit.cdx.json"):
        assert (out / name).exists() and name in printed
    assert main([*command, "--format", "sarif", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(out)


def test_an_unknown_format_is_refused_before_anything_is_asked(tmp_path, capsys):
    assert main(["audit", HOST, "--format", "sarfi", "--out", str(tmp_path / "new")]) == 3
    assert "sarif" in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.mark.parametrize(("wrong", "code"), [((), 0), (("shows a gain, and there is none",), 6)])
def test_a_self_test_that_is_wrong_ends_with_6_and_asks_no_other_host(wrong, code, capsys, monkeypatch):
    case = Case(
        host="known-answer:blind?seed=2",
        kind="blind",
        seed=2,
        why=Expected(gain=False, why="sees the frame alone").why,
        level="gain-possible",
        gain=0.01,
        interval=(-0.04, 0.06),
        flags=(),
        wrong=wrong,
    )
    seen = {}
    monkeypatch.setattr("reprogram.auditing.self_test.self_test", lambda **options: seen.update(options) or [case])
    assert main(["audit", "--self-test", "--seeds", "2"]) == code and list(seen["seeds"]) == [2]
    printed = capsys.readouterr().out
    assert re.search(f"{1 if not wrong else 0} of 1 right", printed) and ("WRONG" in printed) == bool(wrong)
    assert main(["audit", "--self-test", "--seeds", "2", "--json"]) == code
    values = json.loads(capsys.readouterr().out)
    assert values["kinds"] == {"blind": {"right": int(not wrong), "of": 1}}
    if wrong:
        assert main(["audit", "nosuch", "--self-test"]) == 6  # The host isn't even looked for.
