"""Paths that can't be looked at, and files of others beside the runs."""

import contextlib
import json
import os
import sqlite3

import pytest

from helpers_runs import cli, four_runs, index_rows

LONG = "a" * 300
CALLS = {
    "predict": ["predict", "p.safetensors", "{}.png"],
    "program of predict": ["predict", "{}", "x.png"],
    "inspect": ["inspect", "{}"],
    "evaluate": ["evaluate", "{}", "--task", "squares"],
    "report": ["report", "{}"],
    "out of fit": ["fit", "--host", "linear:40", "--quiet", "--out", "{}"],
    "resume": ["fit", "--resume", "{}"],
    "config": ["fit", "--config", "{}"],
    "task": ["fit", "--host", "linear:40", "--quiet", "--task", "folder:{}"],
    "mnist": ["fit", "--host", "linear:40", "--quiet", "--task", "mnist", "--data", "{}"],
    "warm start": ["fit", "--host", "linear:40", "--quiet", "--images", "16", "--warm-start", "{}"],
    "sweep": ["sweep", "{}"],
    "out of sweep": ["sweep", "g.toml", "--quiet", "--out", "{}"],
    "list of sweep": ["sweep", "g.toml", "--list", "--out", "{}/x"],
    "preset": ["paper", "table1", "--preset", "{}.toml"],
    "out of paper": ["paper", "table1", "--quiet", "--hosts", "linear:40", "--tasks", "squares", "--out", "{}"],
    "report of paper": ["paper", "report", "--out", "{}"],
    "runs": ["runs", "list", "--runs", "{}"],
    "show": ["runs", "show", "{}"],
    "remove": ["runs", "remove", "{}/b"],
    "convert": ["convert", "{}", "new.safetensors"],
    "target of convert": ["convert", "old.pt", "{}.safetensors"],
    "host": ["fit", "--quiet", "--host", "local-dir:{}"],
    "weights": ["fit", "--quiet", "--host", "checkpoint:{}?architecture=timm:test_resnet"],
    "hf": ["fit", "--quiet", "--host", "hf:{}"],
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("path", [LONG, "loop", "loop/x", "file/x", f"file/{LONG}"])
def test_a_path_that_cannot_be_looked_at_is_one_line(tmp_path, monkeypatch, name, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "g.toml").write_text('[grid]\nhost = "linear:40"\nimages = 16\n', encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    code, out, err = cli(*(part.format(path) for part in CALLS[name]))
    if name == "list of sweep":
        assert code == 0 and "missing" in out
    else:
        assert code in (3, 4, 5) and out == "" and err.count("\n") == 1, err
    assert "Traceback" not in err and "this is a bug" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_other_tables_of_the_file_outlive_the_index(tmp_path):
    index = four_runs(tmp_path)
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        db.execute("CREATE TABLE mine (value)")
        db.execute("INSERT INTO mine VALUES (42)")
    assert index.rebuild() == 4
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        assert db.execute("SELECT value FROM mine").fetchall() == [(42,)]
        db.execute("DROP TABLE reprogram_runs")
        db.execute("CREATE TABLE reprogram_runs (other)")
    assert len(index.runs()) == 4 and len(index_rows(index)) == 4
    with contextlib.closing(sqlite3.connect(index.path)) as db:
        assert db.execute("SELECT value FROM mine").fetchall() == [(42,)]


def test_a_finished_run_where_nobody_may_write_is_shown(tmp_path, monkeypatch):
    call = ["fit", "--host", "linear:40", "--task", "squares(train=100, validation=20, test=20)", "--images", "32"]
    call += ["--baselines", "chance", "--json", "--out", str(tmp_path / "run")]
    code, finished, _ = cli(*call)
    assert code == 0
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0)  # Root may write in spite of modes.
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    code, again, err = cli(*call)
    assert code == 0 and json.loads(again) == json.loads(finished) and "finished already" in err
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before
    code, out, err = cli(*call[:-1], str(tmp_path / "other"))
    assert code != 0 and out == "" and "may not be written" in err and err.count("\n") == 1
