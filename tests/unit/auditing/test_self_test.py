"""The self-test: the audit is right about hosts of which the answer is known, and a wrong audit is called wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reprogram.auditing.file import read_report
from reprogram.auditing.flags import KINDS
from reprogram.auditing.self_test import KNOWN, Expected, self_test, to_json
from reprogram.errors import ConfigError
from reprogram.evaluation import from_scratch
from reprogram.hosts.known_answer import NETS

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def report():
    report = read_report(FIXTURES / "audit" / "audit.json")
    return replace(report, cells=tuple(cell for cell in report.cells if cell.state == "finished"))


def test_every_known_host_has_an_expectation_and_flags_that_exist():
    assert KNOWN.keys() == NETS.keys()
    named = [name for expected in KNOWN.values() for flag in expected.flags for name in flag.split("|")]
    assert set(named) <= set(KINDS)


def test_a_wrong_audit_is_called_wrong(report):
    assert report.verdict.level == "gain-shown"
    assert Expected(gain=True, why="").wrong(report) == []
    assert Expected(gain=None, flags=("still-rising|zero-gradient",), why="").wrong(report) == []
    assert Expected(gain=False, why="").wrong(report) == ["shows a gain, and there is none"]
    assert Expected(gain=None, flags=("zero-gradient",), why="").wrong(report) == ["misses the flag zero-gradient"]
    none = replace(report, verdict=replace(report.verdict, level="none-shown"))
    assert Expected(gain=True, why="").wrong(none) == ["shows no gain, and there is one"]
    failed = replace(report, cells=(replace(report.cells[0], state="failed", error="it broke"),))
    assert Expected(gain=True, why="").wrong(failed) == ["it broke"]


def test_the_audit_is_right_about_a_blind_host_and_finds_a_planted_shortcut(tmp_path, monkeypatch):
    monkeypatch.setattr(from_scratch, "learn", lambda *_, **__: None)  # The net of one's own costs most of the time.
    hosts = {kind: KNOWN[kind] for kind in ("blind", "shortcut")}
    lines = []
    short = {"rungs": ("gradient",), "budgets": (1000,), "test_images": 100}
    cases = self_test(seeds=(3,), out=tmp_path, hosts=hosts, say=lines.append, **short)
    assert [case.wrong for case in cases] == [(), ()] and len(lines) == 2
    assert [case.level == "gain-shown" for case in cases] == [False, True]
    values = to_json(cases, "reprogram audit --self-test")
    assert json.loads(json.dumps(values))["kinds"] == {kind: {"right": 1, "of": 1} for kind in hosts}
    report = read_report(tmp_path / "shortcut-s3")
    assert report.verdict.gain is not None and report.verdict.gain > 0.3
    pairs = json.loads((tmp_path / "shortcut-s3" / "before-and-after.json").read_text())["pairs"]
    cells = sum(cell.images + cell.lost for cell in report.cells)
    assert report.probe is not None and report.probe.asked == 4 * report.probe.images + len(pairs)
    assert report.bill.images == cells + report.probe.asked + report.bill.beside  # Loading a function asks it, too.
    again = self_test(seeds=(3,), out=tmp_path, hosts={"shortcut": KNOWN["shortcut"]}, **short)
    assert (again[0].gain, again[0].flags) == (cases[1].gain, cases[1].flags)
    assert read_report(tmp_path / "shortcut-s3").bill == report.bill  # Nothing is asked twice.


def test_a_self_test_without_seeds_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="seeds"):
        self_test(seeds=(), out=tmp_path)
