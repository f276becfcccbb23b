"""Grids on several workers: the same bits as of single runs, and what happens when cells or workers fail."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers_processes import spawn
from reprogram.runs.config import RunConfig
from reprogram.runs.index import RunIndex
from reprogram.sweep.cells import Cell, placed
from reprogram.sweep.scheduler import run_cells

GRID = """[grid]
host = ["linear:40", "linear:44"]
task = ["squares(train=1200, validation=50, test=50)", "digits"]
seed = [1]
epochs = 2
validations = 10
baselines = []
"""


def run(*arguments):
    """`reprogram` with these arguments, to its end; in a fork, as its workers are."""
    process = spawn(*arguments)
    out, err = process.communicate(timeout=200)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def wait_for(condition):
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def programs(out):
    return {path.parent.name: path.read_bytes() for path in out.glob("*/program.safetensors")}


def workers(pid):
    """The processes that this one has started and that still run."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.toml"
    path.write_text(GRID)
    return path


@pytest.fixture(scope="module")
def swept(grid):
    """The whole grid by two workers, undisturbed; sweep and workers are started as a shell does."""
    out = grid.parent / "whole"
    command = [sys.executable, "-m", "reprogram", "sweep", grid, "--out", out, "--workers", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_every_cell_is_a_run_with_the_same_bits(swept, tmp_path):
    out, outcomes, err = swept
    assert [o["state"] for o in outcomes] == ["finished"] * 4 and {o["attempts"] for o in outcomes} == {1}
    assert err.count("finished, test accuracy") == 4 == err.count("\n")  # No terminal: a line a cell.
    assert {p.name for p in out.iterdir() if p.is_dir()} == {o["name"] for o in outcomes}
    assert {(run["name"], run["state"]) for run in RunIndex(out).runs()} == {(o["name"], "finished") for o in outcomes}
    for outcome in (outcomes[0], outcomes[-1]):
        folder = Path(outcome["folder"])
        result = json.loads((folder / "result.json").read_text())
        words = result["command"].split()
        assert words[:3] == ["reprogram", "fit", "--config"] and result["threads"] == 1
        alone = run(*words[1:], "--out", tmp_path / outcome["name"], "--json")
        assert alone.returncode == 0, alone.stderr
        single = json.loads(alone.stdout)
        for key in ("test", "validation", "images_seen", "host_calls", "host_images", "task_fingerprint", "host"):
            assert result[key] == single[key]
    assert programs(out).items() >= programs(tmp_path).items() and len(programs(tmp_path)) == 2


@pytest.mark.slow
def test_a_second_call_does_only_what_is_missing(swept, grid):
    out, outcomes, _ = swept
    gone = out / outcomes[1]["name"] / "program.safetensors"
    before, stamps = programs(out), {p: p.stat().st_mtime_ns for p in out.glob("*/result.json")}
    gone.with_name("result.json").unlink()
    listed = run("sweep", grid, "--out", out, "--list", "--json")
    assert [row["state"] for row in json.loads(listed.stdout)].count("finished") == 3
    again = run("sweep", grid, "--out", out, "--workers", 1, "--json")
    assert [o["state"] for o in json.loads(again.stdout)] == ["already", "finished", "already", "already"]
    assert programs(out) == before
    changed = {p for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp}
    assert changed == {gone.with_name("result.json")}


@pytest.mark.slow
@pytest.mark.usefixtures("forks")
def test_a_cell_that_fails_does_not_stop_the_rest(tmp_path):
    """A host that isn't there, a canvas that is too small, a folder with something else in it."""
    quick = {"task": "squares(train=200, validation=50, test=50)", "epochs": 1, "baselines": ()}
    configs = {
        "good": RunConfig(host="linear:40", **quick),
        "no-file": RunConfig(host="checkpoint:none.pt?architecture=timm:test_resnet", **quick),
        "too-small": RunConfig(host="linear:4", canvas="centre", **quick),
        "taken": RunConfig(host="linear:40", seed=1, **quick),
        "last": RunConfig(host="linear:40", seed=2, **quick),
    }
    cells = placed([Cell(name, config) for name, config in configs.items()], tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.toml").write_text("mine")
    news = []
    outcomes = run_cells(cells, workers=2, on_event=news.append)
    assert [o.cell for o in outcomes] == cells
    assert [o.state for o in outcomes] == ["finished", "failed", "failed", "failed", "finished"]
    assert all(("\n" not in o.error) and (o.error != "") == (o.state == "failed") for o in outcomes)
    assert "none.pt" in outcomes[1].error and "canvas" in outcomes[2].error and "taken" in outcomes[3].error
    assert (tmp_path / "taken" / "config.toml").read_text() == "mine"
    ends = [n.cell.name for n in news if n.state in ("finished", "failed")]
    assert sorted(ends) == sorted(configs)


@pytest.mark.slow
@pytest.mark.sampled(2)
@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_workers_in_order(swept, grid, tmp_path, number, code):
    process = spawn("sweep", grid, "--out", tmp_path, "--workers", 2)
    wait_for(lambda: len(list(tmp_path.glob("*/checkpoint.safetensors"))) == 2)
    children = workers(process.pid)
    assert len(children) == 2
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code and "Traceback" not in err
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(tmp_path.glob("*/checkpoint.safetensors")) and not list(tmp_path.glob("*/lock"))
    assert run("sweep", grid, "--out", tmp_path, "--workers", 2).returncode == 0
    assert programs(tmp_path) == programs(swept[0])


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(swept, grid, tmp_path):
    process = spawn("sweep", grid, "--out", tmp_path, "--workers", 2)
    wait_for(lambda: list(tmp_path.glob("*/checkpoint.safetensors")))
    children = workers(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    assert children and run("sweep", grid, "--out", tmp_path, "--workers", 2).returncode == 0  # At once.
    assert programs(tmp_path) == programs(swept[0])
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
