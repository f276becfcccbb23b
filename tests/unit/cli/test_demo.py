"""`reprogram demo` on a tiny host: the paper's way, what the program is worth, and what needs no program."""

import html
import json

import pytest

from helpers_runs import cli
from reprogram.cli import demo
from reprogram.cli.fit import resolve

HOST = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"


@pytest.fixture
def tiny(monkeypatch):
    squares = "squares(train=160, validation=40, test=60)"
    tasks = {"squares": {"task": squares}, "digits": {"task": "digits"}}
    monkeypatch.setattr(demo, "TASKS", {name: {"host": HOST, **task} for name, task in tasks.items()})


def test_it_learns_the_papers_way_and_says_so(tiny, tmp_path):
    code, out, err = cli("demo", "--minutes", "0.02", "--out", tmp_path / "d", "--json", "--quiet")
    assert code == 0, err
    results = json.loads(out)
    assert [result["task"] for result in results] == ["squares", "digits"]
    for result in results:
        assert (result["canvas"], result["program"], result["label_map"]) == ("centre", "frame", "first")
        assert result["loss"] == "host" and result["host_shows"]["needed"] == "top_label"
        assert result["baselines"].keys() == {"chance", "majority", "map_alone", "all_scores"}
        assert result["program_worth"]["n"] == result["test"]["n"] and result["seconds"] < 5
    folders = [tmp_path / "d" / name for name in ("squares", "digits")]
    assert [result["folder"] for result in results] == list(map(str, folders))
    page = html.unescape((folders[0] / "report.html").read_text())
    assert "Read as 1 square<" in page or "(is 1 square)" in page
    assert "by the host's top label alone" in page and "all of the host's scores by a discriminant" in page


def test_people_read_a_line_on_what_needs_no_program(tiny, tmp_path):
    code, out, err = cli("demo", "--minutes", "0.02", "--out", tmp_path, "--quiet")
    assert code == 0, err
    stored = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("squares", "digits")]
    last = out.splitlines()[-1]
    assert last.startswith("Who may read all of the host's scores needs no program")
    assert all(f"{result['baselines']['all_scores']['accuracy']:.3f} ({result['task']})" in last for result in stored)
    assert out.count("what the program is worth") == out.count("by the host's top label alone") == 2


def test_its_settings_are_those_of_fit_without_options_but_for_the_learner():
    given, default = resolve(dict(demo.LEARNING), None), resolve({}, None)
    for option in ("canvas", "program", "label_map", "batch_size", "augmentation"):
        assert getattr(given, option) == getattr(default, option)
