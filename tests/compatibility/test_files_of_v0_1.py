"""What reprogram 0.1 wrote stays readable: its program files, runs, sweeps, presets and configurations.

tests/fixtures/v0.1 was written by 0.1.0 itself (make.py there), with the names that options had then: the learners
`gradient`, `momentum` and `normalized`, their option `average`, `parts` and `start`. Here each file is read, each
interrupted run goes on, and what comes of it is held against what 0.1.0 came to with the same files. Only the public
interface is used, so that the inside may change. Nothing in that folder is ever made anew.
"""

import json
import os
import shlex
import shutil
import sqlite3
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import reprogram
from reprogram.cli import main

STORED = Path(__file__).resolve().parents[1] / "fixtures" / "v0.1"
PROGRAMS = sorted(path.stem for path in STORED.glob("programs/*.safetensors"))
INTERRUPTED = sorted(path.name for path in STORED.glob("runs/interrupted-*"))
RESULTS = sorted(
    str(path.relative_to(STORED))
    for place in ("runs", "sweep", "paper")
    for path in (STORED / place).rglob("result.json")
)
QUIET = ("--threads", "1", "--quiet")


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the stored files, as the current folder: all paths in them are relative to it."""
    folder = Path(shutil.copytree(STORED, tmp_path / "old"))
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("REPROGRAM_")]:
        monkeypatch.delenv(name)
    return folder


def reprogram_json(capsys, *arguments):
    """What a command prints with --json."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def kept(folder):
    """Time and bytes of every file, but for the report, which may be written anew."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "report.html")
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def assert_same_program(path, expected):
    """Whole numbers are the same, others within what the kernels of another processor make of them."""
    found, wanted = load_file(path), load_file(expected)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if np.issubdtype(value.dtype, np.floating):
            np.testing.assert_allclose(
                found[name], value, rtol=1e-3, atol=1e-3 * float(np.abs(value).max()), err_msg=name
            )
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def assert_came_to(folder, name):
    """A run has learned what 0.1.0 learned; of the images one may be read otherwise, where two scores are close."""
    assert_same_program(folder / "program.safetensors", STORED / "expected" / name / "program.safetensors")
    result = json.loads((folder / "result.json").read_text())
    wanted = json.loads((STORED / "expected" / name / "result.json").read_text())
    assert result["selected_step"] == wanted["selected_step"]
    assert result["images_seen"] == wanted["images_seen"]
    for split in ("validation", "test"):
        n = wanted[split]["n"]
        assert result[split]["n"] == n
        assert abs(result[split]["accuracy"] - wanted[split]["accuracy"]) * n < 1.5, split
    assert_fits_schema(result)


def assert_fits_schema(result):
    """The schema is found wherever in the package it lies."""
    (path,) = Path(reprogram.__file__).parent.rglob("result.schema.json")
    jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))).validate(result)


def test_the_fixtures_are_there():
    assert len(PROGRAMS) == 7 and len(INTERRUPTED) == 5 and len(RESULTS) == 4
    assert sum(path.stat().st_size for path in STORED.rglob("*") if path.is_file()) < 1_500_000


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_file_says_what_it_said(old, tmp_path, capsys, name):
    path = old / "programs" / f"{name}.safetensors"
    scores = json.loads((old / "programs" / "scores.json").read_text())[name]
    images = (torch.arange(8 * 64).view(8, 1, 8, 8) * 37 % 256).to(torch.uint8)
    again = reprogram.load(path).save(tmp_path / "again.safetensors")
    for file in (path, again):
        with torch.no_grad():
            found = reprogram.load(file)(images)
        expected = torch.tensor(scores)
        # float32 on another processor: a hundred-thousandth of the largest score, of which small ones are differences.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))
    said = reprogram_json(capsys, "inspect", path)
    assert said["version"] == 1 and said["created_by"] == "reprogram 0.1.0"
    components = {part: said["components"][part]["name"] for part in ("program", "label_map")}
    assert "-".join(components.values()) == name


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_run_goes_on_from_its_checkpoint(old, name):
    run = old / "runs" / name
    before = (run / "history.jsonl").read_text()
    assert main(["fit", "--resume", f"runs/{name}", *QUIET]) == 0
    assert_came_to(run, name)
    # The times of what was learned before are in the checkpoint alone: nothing was begun anew.
    history = (run / "history.jsonl").read_text()
    assert history.startswith(before) and len(history) > len(before)
    assert not list(run.glob("checkpoint*")) and (run / "report.html").exists()


def test_an_interrupted_run_goes_on_by_its_configuration_too(old):
    name = "interrupted-normalized"
    assert main(["fit", "--config", f"runs/{name}/config.toml", *QUIET]) == 0
    assert_came_to(old / "runs" / name, name)


def test_a_run_goes_on_from_the_state_before_where_the_latest_is_damaged(old):
    name = "interrupted-momentum"
    latest = old / "runs" / name / "checkpoint.safetensors"
    latest.write_bytes(latest.read_bytes()[:-100])
    assert main(["fit", "--resume", f"runs/{name}", *QUIET]) == 0
    assert_came_to(old / "runs" / name, name)


def test_runs_are_listed_shown_and_compared(old, capsys):
    listed = reprogram_json(capsys, "runs", "list")["runs"]
    states = {run["name"]: run["state"] for run in listed}
    assert states == {"finished": "finished", **dict.fromkeys(INTERRUPTED, "interrupted")}
    stored = json.loads((old / "runs" / "finished" / "result.json").read_text())
    shown = reprogram_json(capsys, "runs", "show", "finished")
    assert shown["test"] == stored["test"] and shown["validation"] == stored["validation"]
    assert shown["baselines"].keys() == stored["baselines"].keys()
    assert shown["began"] and shown["ended"] and shown["images_seen"] == 600
    compared = reprogram_json(capsys, "runs", "compare", "finished", "interrupted-average")
    assert compared["states"] == ["finished", "interrupted"]
    assert compared["differences"]["task"] == [config_of(old / "runs" / name)["task"] for name in compared["runs"]]
    assert reprogram_json(capsys, "runs", "rebuild")["runs"] == len(states)
    assert reprogram_json(capsys, "runs", "list")["runs"] == listed


def test_the_index_of_the_runs_is_a_table_that_others_may_read(old, capsys):
    def rows():
        database = sqlite3.connect("runs/runs.sqlite")
        try:
            return database.execute("SELECT name, state, record FROM reprogram_runs ORDER BY name").fetchall()
        finally:
            database.close()

    before = rows()
    assert [name for name, _, _ in before] == ["finished", *INTERRUPTED]
    listed = {run["name"]: run for run in reprogram_json(capsys, "runs", "list")["runs"]}
    assert [row[:2] for row in rows()] == [row[:2] for row in before]
    for name, state, record in before:
        assert listed[name]["state"] == state
        assert {key: listed[name][key] for key in ("began", "validation", "test")} == {
            key: json.loads(record)[key] for key in ("began", "validation", "test")
        }


def test_the_command_of_a_finished_run_shows_its_result(old, capsys):
    run = old / "runs" / "finished"
    stored, before = json.loads((run / "result.json").read_text()), kept(run)
    for arguments in (shlex.split(stored["command"])[1:], ["fit", "--resume", "runs/finished", *QUIET]):
        shown = reprogram_json(capsys, *arguments)
        assert shown.pop("folder") == "runs/finished" and shown == stored
        assert kept(run) == before


def test_a_finished_run_is_reported_and_its_program_measured(old, capsys):
    stored = json.loads((old / "runs" / "finished" / "result.json").read_text())
    assert reprogram_json(capsys, "report", "runs/finished") == {"report": "runs/finished/report.html"}
    page = (old / "runs" / "finished" / "report.html").read_text()
    assert "squares" in page and stored["host"].replace("&", "&amp;") in page
    command = ("evaluate", "runs/finished/program.safetensors", "--task", config_of(old / "runs" / "finished")["task"])
    measured = reprogram_json(capsys, *command, *QUIET)
    assert abs(measured["accuracy"] - stored["test"]["accuracy"]) * measured["n"] < 1.5
    assert measured["n"] == stored["test"]["n"]


def config_of(run):
    """Text values of a run's configuration, read as 0.1 wrote them."""
    lines = [line.partition(" = ") for line in (run / "config.toml").read_text().splitlines() if " = " in line]
    return {key: json.loads(value) for key, _, value in lines}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_fits_the_schema(name):
    result = json.loads((STORED / name).read_text())
    assert result["schema"] == 1 and result["versions"]["reprogram"] == "0.1.0"
    assert_fits_schema(result)


def test_a_sweep_goes_on_with_what_is_missing(old, capsys):
    sweep = ("sweep", "sweep/grid.toml", "--out", "sweep/out")
    cells = reprogram_json(capsys, *sweep, "--list")
    assert [cell["state"] for cell in cells] == ["finished", "begun", "missing"]
    assert {cell["name"] for cell in cells} == {path.name for path in (STORED / "expected" / "sweep").iterdir()}
    before = kept(old / cells[0]["folder"])
    done = reprogram_json(capsys, *sweep, "--workers", "1", "--quiet")
    assert [cell["state"] for cell in done] == ["already", "finished", "finished"]
    assert [cell["name"] for cell in done] == [cell["name"] for cell in cells]
    assert kept(old / cells[0]["folder"]) == before
    for cell in cells:
        assert_came_to(old / cell["folder"], f"sweep/{cell['name']}")
    interrupted = old / cells[1]["folder"] / "history.jsonl"
    assert interrupted.read_text().startswith((STORED / interrupted.relative_to(old)).read_text())


def test_a_configuration_is_run(old):
    assert main(["fit", "--config", "configs/run.toml", *QUIET]) == 0
    assert_came_to(old / "out" / "config", "config")


def test_a_preset_plans_the_runs_that_are_there(old, capsys):
    planned = reprogram_json(capsys, "paper", "table1", "--preset", "paper/preset.toml", "--plan")["table1"]
    assert sorted(run["run"] for run in planned) == sorted(path.name for path in Path("paper/out/runs").glob("*/"))
    other = reprogram_json(capsys, "paper", "linear-host", "--preset", "paper/preset.toml", "--plan")
    assert all(run["learner"].startswith("normalized") for run in other["linear-host"]) and other["linear-host"]


def test_what_is_finished_of_a_paper_is_shown_and_not_run_again(old, capsys):
    before, runs = kept(old / "paper"), kept(old / "paper" / "out" / "runs")
    assert main(["paper", "report", "--out", "paper/out"]) == 0
    page = (old / "paper" / "out" / "report.html").read_text()
    assert "small" in page and "pushed" in page
    command = ("paper", "table1", "--preset", "paper/preset.toml", "--out", "paper/out")
    done = reprogram_json(capsys, *command, *QUIET)
    assert [run["state"] for run in done["runs"]] == ["already"] * 2 and done["not_measured"] == []
    assert kept(old / "paper" / "out" / "runs") == runs
    assert [content for _, content in kept(old / "paper").values()] == [content for _, content in before.values()]
    assert (old / "paper" / "out" / "report.html").read_text() == page
