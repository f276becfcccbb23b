"""Who holds a run, and what is noted when it ends."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from helpers_runs import index_rows, runs_cli
from reprogram.errors import ConfigError, DataError, WriteError
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import RunIndex, recorded
from reprogram.utils.lock import locked, owner


@pytest.mark.parametrize(
    "raised,state",
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "interrupted"),
        (WriteError("full"), "interrupted"),
        (DataError("step 3 isn't finite"), "failed"),
        (RuntimeError("out of memory"), "failed"),
    ],
)
def test_what_ends_a_run_is_noted(tmp_path, raised, state):
    run = RunFolder(tmp_path / "a")
    with pytest.raises(type(raised)), run.owned(), recorded(run, RunConfig(), pytest.fail):
        assert index_rows(RunIndex(tmp_path)) == {"a": "running"}
        raise raised
    assert index_rows(RunIndex(tmp_path)) == {"a": state}
    RunIndex(tmp_path).rebuild()
    (record,) = RunIndex(tmp_path).runs()
    assert record["state"] == state and (str(raised) in record["error"] if state == "failed" else not record["error"])
    first = record["began"]
    with run.owned(), recorded(run, RunConfig(), pytest.fail):
        (record,) = RunIndex(tmp_path).runs()
        assert (record["state"], record["error"], record["began"]) == ("running", None, first)


CHILD = (
    "import sys, time; from pathlib import Path\n"
    "from reprogram.runs.folder import RunFolder; from reprogram.runs.index import recorded\n"
    "from reprogram.runs.config import RunConfig\n"
    "run = RunFolder(Path(sys.argv[1]))\n"
    "with run.owned(), recorded(run, RunConfig(), print):\n"
    "    print('there', flush=True); time.sleep(60)\n"
)


def test_a_killed_run_does_not_go_on_for_ever(tmp_path):
    store = RunIndex(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "a")], stdout=subprocess.PIPE)
    with process, process.stdout:
        assert process.stdout.readline() == b"there\n"
        assert [record["state"] for record in store.runs()] == ["running"]
        code, _, err = runs_cli("remove", "a", "--runs", tmp_path)
        assert code == 3 and (tmp_path / "a" / "config.toml").exists() and err.count("\n") == 1
        with pytest.raises(ConfigError, match=f"process {process.pid} "):
            store.remove("a")
        process.kill()
    assert index_rows(store) == {"a": "running"}
    assert [record["state"] for record in store.runs()] == ["interrupted"] and index_rows(store) == {"a": "interrupted"}


@pytest.mark.parametrize(
    "left",
    ["", "1 on elsewhere", f"{os.getpid()} on here", "\x1b[31m", "x" * 9999],
    ids=["empty", "elsewhere", "a living process", "escape", "long"],
)
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path, left):
    """Also with the number of a process that there is again, and of another machine."""
    path = tmp_path / "lock"
    path.write_text(left)
    assert owner(path) is None
    with locked(path):
        assert owner(path).startswith(f"{os.getpid()} on ")
        with pytest.raises(ConfigError, match=f"process {os.getpid()} "), locked(path):
            pass
    assert not path.exists()


def test_who_looks_at_a_lock_keeps_nobody_out(tmp_path):
    path, context = tmp_path / "lock", multiprocessing.get_context("fork")
    path.touch()

    def look():
        while True:
            owner(path)

    lookers = [context.Process(target=look, daemon=True) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(200):
        with locked(path):
            pass
    for looker in lookers:
        looker.kill()
        looker.join()
