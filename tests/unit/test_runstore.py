"""The index of a folder's runs: whatever happens to it, what it says is what the files say."""

import contextlib
import io
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

from reprogram.checkpoint import write_atomic
from reprogram.cli import main
from reprogram.errors import ConfigError, DataError, WriteError
from reprogram.lock import locked, owner
from reprogram.runconfig import RunConfig
from reprogram.runfolder import RunFolder
from reprogram.runstore import RunStore, recorded


def measured(correct, n=50):
    return {"accuracy": correct / n, "n": n, "interval": [correct / n - 0.1, correct / n + 0.1]}


def make(folder, state="finished", *, correct=25, error="NumberError: it was odd", **options):
    """A run's folder in that state, as `execute` leaves it, without the work."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.begin(RunConfig(**options))
    run.append_history([{"step": 5, "images": 80, "seconds": 1.5, "validation_accuracy": 0.25}])
    if state == "failed":
        run.end(error)
    elif state == "finished":
        run.end()
        result = {"test": measured(correct), "validation": measured(30), "baselines": {"chance": {"accuracy": 0.1}}}
        write_atomic(run.result, json.dumps(result | {"images_seen": 160, "seconds": 3.0}).encode())
    return run


def four(folder):
    make(folder / "a", task="digits", seed=3)
    make(folder / "b", "failed", task="squares(train=9)")
    make(folder / "c", "interrupted", host="linear:40")
    make(folder / "d", correct=40, task="squares")
    return RunStore(folder)


def rows(store):
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        return dict(db.execute("SELECT name, state FROM reprogram_runs"))


def cli(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["runs", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


STATES = {"a": "finished", "b": "failed", "c": "interrupted", "d": "finished"}


def test_each_state_and_number_is_what_the_files_say(tmp_path):
    store = four(tmp_path)
    found = {record["name"]: record for record in store.runs()}
    assert {name: record["state"] for name, record in found.items()} == STATES == rows(store)
    assert found["b"]["error"] == "NumberError: it was odd" and found["a"]["error"] is None
    assert found["a"]["config"]["seed"] == 3 and found["a"]["test"] == measured(25)
    assert found["a"]["baselines"]["chance"]["accuracy"] == 0.1 and found["a"]["images_seen"] == 160
    assert found["c"]["test"] is None and found["c"]["validation"]["accuracy"] == 0.25
    assert found["c"]["ended"] is None and found["a"]["ended"] >= found["a"]["began"]
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_changes_of_the_files_are_seen(tmp_path):
    store = four(tmp_path)
    store.runs()
    shutil.copytree(tmp_path / "a", tmp_path / "e")
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "d" / "result.json").write_text("{")
    RunFolder(tmp_path / "c").begin(RunConfig(seed=9))
    found = {record["name"]: record for record in store.runs()}
    assert list(found) == ["a", "c", "d", "e"] == list(rows(store))
    assert found["d"]["state"] == "failed" and found["c"]["config"]["seed"] == 9


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_index_is_made_anew(tmp_path, seed):
    store, chance = four(tmp_path), random.Random(seed)
    before = store.runs()
    content = bytearray(store.path.read_bytes())
    if seed < 8:
        for _ in range(3**seed):
            content[chance.randrange(len(content))] = chance.randrange(256)
    else:
        content = (b"", b"no database", content[: len(content) // 2], chance.randbytes(9000))[seed - 8]
    store.path.write_bytes(content)
    assert store.runs() == before
    store.path.write_bytes(content)
    store.update("a")
    assert store.runs() == before
    store.rebuild()
    assert rows(store) == STATES


def test_a_row_that_is_not_what_the_files_say_is_not_believed(tmp_path):
    store = four(tmp_path)
    before = store.runs()
    with contextlib.closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE reprogram_runs SET record = replace(record, '0.8', '0.9')")
        db.execute("INSERT INTO reprogram_runs VALUES ('ghost', 'finished', '{}', '')")
    assert store.runs() == before and rows(store) == STATES


def test_an_index_of_another_shape_is_made_anew(tmp_path):
    store = four(tmp_path)
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        db.execute("CREATE TABLE reprogram_runs (x)")
    assert {record["name"]: record["state"] for record in store.runs()} == STATES == rows(store)


def test_the_missing_index_holds_all_runs_again_after_one_update(tmp_path):
    store = four(tmp_path)
    store.update("b")
    assert rows(store) == STATES


def noted(folder, name, barrier):
    barrier.wait()
    run = RunFolder(folder / name)
    run.path.mkdir()
    with recorded(run, RunConfig(), pytest.fail):
        run.end()
        write_atomic(run.result, json.dumps({"test": measured(int(name) % 50)}).encode())


@pytest.mark.parametrize("damage", [None, b"no database at all" * 99])
def test_many_processes_that_end_at_once_lose_nothing(tmp_path, damage):
    if damage:
        (tmp_path / "runs.sqlite").write_bytes(damage)
    count, context = 12, multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    processes = [context.Process(target=noted, args=(tmp_path, str(i), barrier)) for i in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count
    store = RunStore(tmp_path)
    if not damage:  # Who finds a damaged one takes it away, also what another has just put there.
        assert rows(store) == {str(i): "finished" for i in range(count)}
    assert {(r["name"], r["test"]["n"]) for r in store.runs()} == {(str(i), 50) for i in range(count)}
    assert len(rows(store)) == count


@pytest.mark.parametrize("trouble", ["held by another", "a folder", "no room"])
def test_a_store_that_cannot_be_written_is_warned_of_once(tmp_path, trouble, monkeypatch):
    store, said = RunStore(tmp_path), []
    if trouble == "held by another":
        make(tmp_path / "old")
        store.rebuild()
        held = sqlite3.connect(store.path, isolation_level=None)
        held.execute("BEGIN EXCLUSIVE")
    elif trouble == "a folder":
        store.path.mkdir()
    else:
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left")))
    (tmp_path / "new").mkdir()
    run, begun = RunFolder(tmp_path / "new"), time.monotonic()
    with recorded(run, RunConfig(), said.append):
        run.end()
    assert time.monotonic() - begun < 5
    assert len(said) == 1 and "warning" in said[0] and "runs.sqlite" in said[0]
    assert "new" in [record["name"] for record in store.runs()]
    if trouble == "held by another":
        held.close()
        assert "new" in {record["name"] for record in store.runs()} and "new" in rows(store)


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
        assert rows(RunStore(tmp_path)) == {"a": "running"}
        raise raised
    assert rows(RunStore(tmp_path)) == {"a": state}
    RunStore(tmp_path).rebuild()
    (record,) = RunStore(tmp_path).runs()
    assert record["state"] == state and (str(raised) in record["error"] if state == "failed" else not record["error"])
    first = record["began"]
    with run.owned(), recorded(run, RunConfig(), pytest.fail):
        (record,) = RunStore(tmp_path).runs()
        assert (record["state"], record["error"], record["began"]) == ("running", None, first)


CHILD = (
    "import sys, time; from pathlib import Path\n"
    "from reprogram.runfolder import RunFolder; from reprogram.runstore import recorded\n"
    "from reprogram.runconfig import RunConfig\n"
    "run = RunFolder(Path(sys.argv[1]))\n"
    "with run.owned(), recorded(run, RunConfig(), print):\n"
    "    print('there', flush=True); time.sleep(60)\n"
)


def test_a_killed_run_does_not_go_on_for_ever(tmp_path):
    store = RunStore(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "a")], stdout=subprocess.PIPE)
    with process, process.stdout:
        assert process.stdout.readline() == b"there\n"
        assert [record["state"] for record in store.runs()] == ["running"]
        code, _, err = cli("remove", "a", "--runs", tmp_path)
        assert code == 3 and (tmp_path / "a" / "config.toml").exists() and err.count("\n") == 1
        with pytest.raises(ConfigError, match=f"process {process.pid} "):
            store.remove("a")
        process.kill()
    assert rows(store) == {"a": "running"}
    assert [record["state"] for record in store.runs()] == ["interrupted"] and rows(store) == {"a": "interrupted"}


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


def test_list_filters_and_sorts(tmp_path):
    four(tmp_path)

    def names(*arguments):
        code, out, _ = cli("list", "--runs", tmp_path, "--json", *arguments)
        assert code == 0
        return "".join(run["name"] for run in json.loads(out)["runs"])

    assert names() == "abcd"
    assert names("--task", "squares") == "bcd" and names("--task", "squares(*") == "b"
    assert names("--host", "linear*") == "c" and names("--state", "failed") == "b" and names("--program", "x") == ""
    assert names("--sort", "accuracy") == "bcad" and names("--sort", "accuracy", "--reverse") == "dacb"
    assert names("--sort", "seed") == "bcda" and names("--sort", "task") == "acdb"
    code, out, _ = cli("list", "--runs", tmp_path)
    assert code == 0 and out.count("\n") == 5 and "0.7000 to 0.9000" in out


def test_compare_shows_what_differs(tmp_path):
    four(tmp_path)
    code, out, _ = cli("compare", "a", "d", "--runs", tmp_path, "--json")
    found = json.loads(out)
    assert code == 0 and found["differences"] == {"task": ["digits", "squares"], "seed": [3, 0]}
    assert found["accuracies"]["test"] == [measured(25), measured(40)] and found["states"] == ["finished"] * 2
    code, out, _ = cli("compare", tmp_path / "a", tmp_path / "d", tmp_path / "c")
    assert code == 0 and "0.5000 n=50 0.4000 to 0.6000" in out and "0.8000 n=50" in out and "epochs" not in out
    assert cli("compare", "a", "--runs", tmp_path)[0] == 3


def test_show(tmp_path):
    four(tmp_path)
    code, out, _ = cli("show", "b", "--runs", tmp_path)
    assert code == 0 and "it was odd" in out and "squares(train=9)" in out
    code, out, _ = cli("show", tmp_path / "a", "--json")
    assert code == 0 and json.loads(out)["folder"] == str(tmp_path / "a") and json.loads(out)["state"] == "finished"
    code, out, err = cli("show", "aa", "--runs", tmp_path)
    assert (code, out) == (3, "") and "did you mean 'a'" in err


def test_a_bare_name_is_looked_for_among_the_runs_and_then_here(tmp_path, monkeypatch):
    make(tmp_path / "f0", task="digits")
    make(tmp_path / "runs" / "a", task="squares")
    monkeypatch.chdir(tmp_path)
    assert "digits" in cli("show", "f0")[1] and "squares" in cli("show", "a")[1]
    make(tmp_path / "a", task="mnist")
    assert "squares" in cli("show", "a")[1] and "mnist" in cli("show", "./a")[1]
    assert cli("show", "f1")[0] == 3


def test_remove_takes_only_what_a_run_wrote(tmp_path):
    store = four(tmp_path / "runs")
    (tmp_path / "runs" / "d" / "notes.txt").write_text("mine")
    (tmp_path / "runs" / "a" / "report.html").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("p")
    code, out, err = cli("remove", "a", "d", "b", "--runs", tmp_path / "runs")
    assert code == 0 and out.count("removed") == 3 and "notes.txt" in err
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["c", "d", "runs.sqlite"]
    assert [path.name for path in (tmp_path / "runs" / "d").iterdir()] == ["notes.txt"]
    assert (tmp_path / "precious").read_text() == "p" and rows(store) == {"c": "interrupted"}


def test_remove_refuses_what_is_no_run(tmp_path):
    make(tmp_path / "elsewhere" / "a")
    make(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "runs" / "plain").mkdir()
    (tmp_path / "runs" / "plain" / "config.toml").write_text("[fit]\n")
    before = sorted(tmp_path.rglob("*"))
    os.mkfifo(tmp_path / "runs" / "plain" / "result.json")
    before = sorted(tmp_path.rglob("*"))
    for name in ("link", "plain", "..", ".", "", "../elsewhere", "b/..", "*", "none"):
        code, out, err = cli("remove", "b", name, "--runs", tmp_path / "runs")
        assert code == 3 and err.count("\n") == 1 and out == "", name
    assert cli("remove", "--runs", tmp_path / "runs")[0] == 3
    assert [path for path in sorted(tmp_path.rglob("*")) if "sqlite" not in path.name] == before


def test_names_and_contents_from_strangers_are_inert(tmp_path):
    evil = "\x1b]0;owned\x07\n<b>"
    make(tmp_path / evil, host=evil, error=evil)
    make(tmp_path / "failed", "failed", error=evil)
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\xfe")  # noqa: PTH102
    shutil.copytree(tmp_path / "failed", os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"), dirs_exist_ok=True)
    for number, text in enumerate(
        ("[" * 100_000, '{"test": {"accuracy": NaN, "n": "x", "interval": [1]}}', "[]", '"\\ud800"', "1" * 9999, "\xff")
    ):
        for name in ("result.json", "run.json", "history.jsonl"):
            make(tmp_path / f"{number}-{name}")
            (tmp_path / f"{number}-{name}" / name).write_bytes(text.encode("latin-1"))
    config = make(tmp_path / "config", "interrupted").config
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
            code, out, err = cli(*arguments, "--runs", tmp_path)
            assert code == 0, err
            assert (out + err).replace("\n", "").isprintable() and "owned\n" not in out
    code, out, _ = cli("list", "--runs", tmp_path, "--json")
    assert code == 0 and len(json.loads(out)["runs"]) == 22 and out.replace("\n", "").isprintable()


def test_a_fifo_as_a_result_does_not_hang(tmp_path):
    run = make(tmp_path / "a", "interrupted")
    for path in (run.result, run.lock):
        os.mkfifo(path)
    assert [record["state"] for record in RunStore(tmp_path).runs()] == ["failed"]


def test_a_folder_without_runs_stays_as_it_is(tmp_path):
    assert RunStore(tmp_path).runs() == [] and list(tmp_path.iterdir()) == []
    code, out, err = cli("list", "--runs", tmp_path / "none")
    assert (code, out) == (3, "") and "none" in err and not (tmp_path / "none").exists()


def test_what_may_not_be_written_can_be_read(tmp_path):
    four(tmp_path).rebuild()
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        assert {record["name"]: record["state"] for record in RunStore(tmp_path).runs()} == STATES
    finally:
        tmp_path.chmod(0o700)


def test_the_verb_needs_no_torch(tmp_path):
    four(tmp_path)
    code = "import sys; from reprogram.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for arguments in (["list"], ["show", "a"], ["compare", "a", "b"], ["rebuild"], ["remove", "a"]):
        subprocess.run([sys.executable, "-c", code, "runs", *arguments, "--runs", str(tmp_path)], check=True)
