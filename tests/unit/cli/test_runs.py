"""`reprogram runs`: lists, compares, shows and removes runs."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pytest

from helpers_runs import STATES, four_runs, index_rows, make_run, measured, runs_cli
from reprogram.runs.index import RunIndex


def test_list_filters_and_sorts(tmp_path):
    four_runs(tmp_path)

    def names(*arguments):
        code, out, _ = runs_cli("list", "--runs", tmp_path, "--json", *arguments)
        assert code == 0
        return "".join(run["name"] for run in json.loads(out)["runs"])

    assert names() == "abcd"
    assert names("--task", "squares") == "bcd" and names("--task", "squares(*") == "b"
    assert names("--host", "linear*") == "c" and names("--state", "failed") == "b" and names("--program", "x") == ""
    assert names("--sort", "accuracy") == "bcad" and names("--sort", "accuracy", "--reverse") == "dacb"
    assert names("--sort", "worth") == "bcad"
    assert names("--sort", "seed") == "bcda" and names("--sort", "task") == "acdb"
    code, out, _ = runs_cli("list", "--runs", tmp_path)
    assert code == 0 and out.count("\n") == 5 and "0.7000 to 0.9000" in out
    assert "worth of the program" in out and "+0.7000 (+0.6000 to +0.8000)" in out


def test_a_run_of_a_version_that_knew_no_worth_is_listed_without_it(tmp_path):
    store = four_runs(tmp_path)
    before = {record["name"]: record for record in store.runs()}
    assert before["c"]["program_worth"] is None and before["d"]["top_label"] == measured(39)
    result = json.loads((tmp_path / "d" / "result.json").read_text())
    for damage in ({"program_worth": None, "host_shows": 3}, {"program_worth": {"difference": "x"}, "host_shows": {}}):
        (tmp_path / "d" / "result.json").write_text(json.dumps({**result, **damage}))
        found = {record["name"]: record for record in store.runs()}["d"]
        assert found["program_worth"] is found["top_label"] is None and found["test"] == measured(40)
        assert runs_cli("list", "--runs", tmp_path)[0] == 0


def test_runs_of_one_name_are_told_apart_in_every_table_as_in_the_picture(tmp_path):
    paths = [tmp_path / "x", tmp_path / "y"]
    for path in paths:
        four_runs(path)
    for more in ([], ["--format", "csv"], ["--format", "markdown"], ["--format", "latex"]):
        code, out, _ = runs_cli("compare", *(path / "a" for path in paths), *more)
        assert code == 0
        plain = out.replace("\\", "")
        assert all(str(path / "a") in plain for path in paths)


def test_compare_shows_what_differs(tmp_path):
    four_runs(tmp_path)
    code, out, _ = runs_cli("compare", "a", "d", "--runs", tmp_path, "--json")
    found = json.loads(out)
    assert code == 0 and found["differences"] == {"task": ["digits", "squares"], "seed": [3, 0]}
    assert found["accuracies"]["test"] == [measured(25), measured(40)] and found["states"] == ["finished"] * 2
    assert [worth["difference"] for worth in found["program_worth"]] == [0.4, 0.7000000000000001]
    code, out, _ = runs_cli("compare", tmp_path / "a", tmp_path / "d", tmp_path / "c")
    assert code == 0 and "0.5000 n=50 0.4000 to 0.6000" in out and "0.8000 n=50" in out and "epochs" not in out
    assert runs_cli("compare", "a", "--runs", tmp_path)[0] == 3


def test_the_loss_of_an_interrupted_run_is_the_one_that_auto_stands_for(tmp_path):
    for name, loss, label_map in (("a", "auto", "first"), ("b", "host", "first"), ("c", "task", "discriminant")):
        make_run(tmp_path / name, "finished" if name == "b" else "interrupted", loss=loss, label_map=label_map)
    differs = {"ab": {}, "bc": {"loss": ["host", "task"], "label_map": ["first", "discriminant"]}}
    for pair, expected in differs.items():
        code, out, _ = runs_cli("compare", *pair, "--runs", tmp_path, "--json")
        assert code == 0 and json.loads(out)["differences"] == expected


def test_budgets_and_what_was_measured_have_columns_of_their_own(tmp_path):
    for name, images in (("a", 320), ("b", 640)):
        make_run(tmp_path / name, "finished", images=images)
    code, out, _ = runs_cli("compare", "a", "b", "--runs", tmp_path, "--format", "csv")
    heads = next(csv.reader(io.StringIO(out)))
    assert code == 0 and len(set(heads)) == len(heads)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["images budget"] for row in rows] == ["320", "640"]


def test_show(tmp_path):
    four_runs(tmp_path)
    code, out, _ = runs_cli("show", "b", "--runs", tmp_path)
    assert code == 0 and "it was odd" in out and "squares(train=9)" in out
    code, out, _ = runs_cli("show", "a", "--runs", tmp_path)
    assert code == 0 and "program_worth" in out and "+0.4000 (+0.3000 to +0.5000)" in out and "top_label" in out
    code, out, _ = runs_cli("show", tmp_path / "a", "--json")
    assert code == 0 and json.loads(out)["folder"] == str(tmp_path / "a") and json.loads(out)["state"] == "finished"
    code, out, err = runs_cli("show", "aa", "--runs", tmp_path)
    assert (code, out) == (3, "") and "did you mean 'a'" in err


def test_a_bare_name_is_looked_for_among_the_runs_and_then_here(tmp_path, monkeypatch):
    make_run(tmp_path / "f0", task="digits")
    make_run(tmp_path / "runs" / "a", task="squares")
    monkeypatch.chdir(tmp_path)
    assert "digits" in runs_cli("show", "f0")[1] and "squares" in runs_cli("show", "a")[1]
    make_run(tmp_path / "a", task="mnist")
    assert "squares" in runs_cli("show", "a")[1] and "mnist" in runs_cli("show", "./a")[1]
    assert runs_cli("show", "f1")[0] == 3


def test_remove_takes_only_what_a_run_wrote(tmp_path):
    store = four_runs(tmp_path / "runs")
    (tmp_path / "runs" / "d" / "notes.txt").write_text("mine")
    (tmp_path / "runs" / "a" / "report.html").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("p")
    code, out, err = runs_cli("remove", "a", "d", "b", "--runs", tmp_path / "runs")
    assert code == 0 and out.count("removed") == 3 and "notes.txt" in err
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["c", "d", "runs.sqlite"]
    assert [path.name for path in (tmp_path / "runs" / "d").iterdir()] == ["notes.txt"]
    assert (tmp_path / "precious").read_text() == "p" and index_rows(store) == {"c": "interrupted"}


def test_remove_refuses_what_is_no_run(tmp_path):
    make_run(tmp_path / "elsewhere" / "a")
    make_run(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "runs" / "plain").mkdir()
    (tmp_path / "runs" / "plain" / "config.toml").write_text("[fit]\n")
    before = sorted(tmp_path.rglob("*"))
    os.mkfifo(tmp_path / "runs" / "plain" / "result.json")
    before = sorted(tmp_path.rglob("*"))
    for name in ("link", "plain", "..", ".", "", "../elsewhere", "b/..", "*", "none"):
        code, out, err = runs_cli("remove", "b", name, "--runs", tmp_path / "runs")
        assert code == 3 and err.count("\n") == 1 and out == "", name
    assert runs_cli("remove", "--runs", tmp_path / "runs")[0] == 3
    assert [path for path in sorted(tmp_path.rglob("*")) if "sqlite" not in path.name] == before


def test_names_and_contents_from_strangers_are_inert(tmp_path):
    evil = "\x1b]0;owned\x07\n<b>"
    make_run(tmp_path / evil, host=evil, error=evil)
    make_run(tmp_path / "failed", "failed", error=evil)
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\xfe")  # noqa: PTH102
    shutil.copytree(tmp_path / "failed", os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"), dirs_exist_ok=True)
    for number, text in enumerate(
        ("[" * 100_000, '{"test": {"accuracy": NaN, "n": "x", "interval": [1]}}', "[]", '"\\ud800"', "1" * 9999, "\xff")
    ):
        for name in ("result.json", "run.json", "history.jsonl"):
            make_run(tmp_path / f"{number}-{name}")
            (tmp_path / f"{number}-{name}" / name).write_bytes(text.encode("latin-1"))
    config = make_run(tmp_path / "config", "interrupted").config
    config.write_text(
        config.read_text() + "x = nan\ny = 1979-05-27\nz = [[inf]]\n" + "w = " + "[" * 99 + "]" * 99 + "\n"
    )
    for _ in range(2):
        for arguments in (
            ("list",),
            ("show", evil),
            ("show", "failed"),
            ("show", "config"),
            ("compare", "failed", evil),
        ):
            code, out, err = runs_cli(*arguments, "--runs", tmp_path)
            assert code == 0, err
            assert (out + err).replace("\n", "").isprintable() and "owned\n" not in out
    code, out, _ = runs_cli("list", "--runs", tmp_path, "--json")
    assert code == 0 and len(json.loads(out)["runs"]) == 22 and out.replace("\n", "").isprintable()


def test_a_fifo_as_a_result_does_not_hang(tmp_path):
    run = make_run(tmp_path / "a", "interrupted")
    for path in (run.result, run.lock):
        os.mkfifo(path)
    assert [record["state"] for record in RunIndex(tmp_path).runs()] == ["failed"]


def test_a_folder_without_runs_stays_as_it_is(tmp_path):
    assert RunIndex(tmp_path).runs() == [] and list(tmp_path.iterdir()) == []
    code, out, err = runs_cli("list", "--runs", tmp_path / "none")
    assert (code, out) == (3, "") and "none" in err and not (tmp_path / "none").exists()


def test_what_may_not_be_written_can_be_read(tmp_path):
    four_runs(tmp_path).rebuild()
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        assert {record["name"]: record["state"] for record in RunIndex(tmp_path).runs()} == STATES
    finally:
        tmp_path.chmod(0o700)


def test_the_verb_needs_no_torch(tmp_path):
    four_runs(tmp_path)
    code = "import sys; from reprogram.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for arguments in (["list"], ["show", "a"], ["compare", "a", "b"], ["rebuild"], ["remove", "a"]):
        subprocess.run([sys.executable, "-c", code, "runs", *arguments, "--runs", str(tmp_path)], check=True)
