"""`reprogram demo` on a tiny host: the paper's way, what the program is worth, and what needs no program."""

import html
import json
import tomllib

import pytest
import torch

from helpers_runs import cli
from reprogram.cli import demo
from reprogram.cli.fit import resolve
from reprogram.cli.sweep import display_cells
from reprogram.runs.config import RunConfig
from reprogram.sweep.cells import Cell, CellEvent

HOST = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"


@pytest.fixture
def tiny(monkeypatch, forks):
    squares = "squares(train=160, validation=40, test=60)"
    tasks = {"squares": {"task": squares}, "digits": {"task": "digits"}}
    monkeypatch.setattr(demo, "TASKS", {name: {"host": HOST, **task} for name, task in tasks.items()})
    yield
    torch.set_num_threads(1)


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


def seconds_of(folder):
    return [tomllib.loads((folder / name / "config.toml").read_text())["fit"]["seconds"] for name in demo.TASKS]


def test_cores_decide_whether_both_learn_at_once_for_the_whole_time(tiny, tmp_path):
    code, _, err = cli("demo", "--minutes", "0.02", "--out", tmp_path / "two", "--threads", "2")
    assert code == 0, err
    first, *lines = err.splitlines()
    assert first == "squares and digits: 0.02 min of learning, both at once; then both are measured"
    assert seconds_of(tmp_path / "two") == [1.2, 1.2]
    assert [line.split()[0] for line in lines if "test accuracy" in line] == ["1/2", "2/2"]
    code, _, err = cli("demo", "--minutes", "0.02", "--out", tmp_path / "one", "--threads", "1")
    assert code == 0 and "one after the other" in err
    assert seconds_of(tmp_path / "one") == pytest.approx([1.2 * share for share in demo.SHARES.values()])
    assert sum(demo.SHARES.values()) == 1


def test_one_that_fails_is_named_and_the_other_is_shown(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(demo.TASKS, "digits", {"host": "timm:no_such_model", "task": "digits"})
    code, out, err = cli("demo", "--minutes", "0.02", "--out", tmp_path / "d", "--quiet", "--json")
    assert code == 3 and err.startswith("reprogram: digits failed: ") and len(err.splitlines()) == 1
    assert [result["task"] for result in json.loads(out)] == ["squares"]
    assert (tmp_path / "d" / "squares" / "result.json").is_file()


@pytest.mark.parametrize("shown", [False, True])
def test_each_validation_is_a_line_where_it_is_asked_for(shown, capsys):
    a, b = (Cell(name, RunConfig(out=name)) for name in "ab")
    with display_cells(2, False, validations=shown) as (_, on_event):
        for cell, fraction, accuracy in ((a, 0.1, None), (a, 0.25, 0.5), (b, 0.25, 0.5), (a, 0.3, 0.5), (a, 0.5, 0.75)):
            on_event(CellEvent(cell=cell, state="running", fraction=fraction, accuracy=accuracy))
        on_event(CellEvent(cell=a, state="finished", accuracy=0.8))
    told = [" 25 %  a  validation 0.500", " 25 %  b  validation 0.500", " 50 %  a  validation 0.750"]
    assert capsys.readouterr().err.splitlines() == [*(told if shown else []), "1/2  a  finished, test accuracy 0.8000"]


def test_what_cannot_run_is_one_line_before_anything_is_made(tiny, tmp_path):
    (tmp_path / "file").touch()
    for options, said in (
        (("--out", tmp_path / "file" / "x"), "file: is a file, and no folder; choose another --out"),
        (("--out", tmp_path / "d", "--minutes", "0"), "--minutes 0: a positive number is expected"),
        (("--out", tmp_path / "d", "--minutes", "nan"), "--minutes nan: a positive number is expected"),
        (("--out", tmp_path / "d", "--minutes", "inf"), "positive"),
    ):
        code, out, err = cli("demo", *options)
        assert (code, out) == (3, "") and said in err and len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    demo.TASKS["digits"]["task"] = f"folder:{tmp_path}/nothing"
    code, out, err = cli("demo", "--out", tmp_path / "d")
    assert (code, out) == (3, "") and "nothing" in err and len(err.splitlines()) == 1
