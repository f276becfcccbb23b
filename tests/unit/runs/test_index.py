"""The index of a folder's runs: whatever happens to it, what it says is what the files say."""

import contextlib
import json
import multiprocessing
import random
import shutil
import sqlite3
import time

import pytest

from helpers_runs import STATES, four_runs, index_rows, make_run, measured
from reprogram.runs import index
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import RunIndex, recorded
from reprogram.runs.record import describe
from reprogram.utils.files import write_atomic


def test_each_state_and_number_is_what_the_files_say(tmp_path):
    store = four_runs(tmp_path)
    found = {record["name"]: record for record in store.runs()}
    assert {name: record["state"] for name, record in found.items()} == STATES == index_rows(store)
    assert found["b"]["error"] == "NumberError: it was odd" and found["a"]["error"] is None
    assert found["a"]["config"]["seed"] == 3 and found["a"]["test"] == measured(25)
    assert found["a"]["baselines"]["chance"]["accuracy"] == 0.1 and found["a"]["images_seen"] == 160
    assert found["c"]["test"] is None and found["c"]["validation"]["accuracy"] == 0.25
    assert found["c"]["ended"] is None and found["a"]["ended"] >= found["a"]["began"]
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_changes_of_the_files_are_seen(tmp_path):
    store = four_runs(tmp_path)
    store.runs()
    shutil.copytree(tmp_path / "a", tmp_path / "e")
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "d" / "result.json").write_text("{")
    RunFolder(tmp_path / "c").begin(RunConfig(seed=9))
    found = {record["name"]: record for record in store.runs()}
    assert list(found) == ["a", "c", "d", "e"] == list(index_rows(store))
    assert found["d"]["state"] == "failed" and found["c"]["config"]["seed"] == 9


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_index_is_made_anew(tmp_path, seed):
    store, chance = four_runs(tmp_path), random.Random(seed)
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
    assert index_rows(store) == STATES


def test_a_row_that_is_not_what_the_files_say_is_not_believed(tmp_path):
    store = four_runs(tmp_path)
    before = store.runs()
    with contextlib.closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE reprogram_runs SET record = replace(record, '0.8', '0.9')")
        db.execute("INSERT INTO reprogram_runs VALUES ('ghost', 'finished', '{}', '')")
    assert store.runs() == before and index_rows(store) == STATES


def test_rows_of_a_version_that_knew_fewer_fields_are_made_anew(tmp_path, monkeypatch):
    store = four_runs(tmp_path)
    with monkeypatch.context() as before:
        before.setattr(index, "VERSION", index.VERSION - 1)
        before.setattr(index, "describe", lambda folder: without_worth(describe(folder)))
        store.rebuild()
        assert all("program_worth" not in record for record in store.runs())
    assert all("program_worth" in record for record in store.runs())


def without_worth(record):
    return {key: value for key, value in record.items() if key != "program_worth"}


def test_an_index_of_another_shape_is_made_anew(tmp_path):
    store = four_runs(tmp_path)
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        db.execute("CREATE TABLE reprogram_runs (x)")
    assert {record["name"]: record["state"] for record in store.runs()} == STATES == index_rows(store)


def test_the_missing_index_holds_all_runs_again_after_one_update(tmp_path):
    store = four_runs(tmp_path)
    store.update("b")
    assert index_rows(store) == STATES


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
    store = RunIndex(tmp_path)
    if not damage:  # Who finds a damaged one takes it away, also what another has just put there.
        assert index_rows(store) == {str(i): "finished" for i in range(count)}
    assert {(r["name"], r["test"]["n"]) for r in store.runs()} == {(str(i), 50) for i in range(count)}
    assert len(index_rows(store)) == count


@pytest.mark.parametrize("trouble", ["held by another", "a folder", "no room"])
def test_a_store_that_cannot_be_written_is_warned_of_once(tmp_path, trouble, monkeypatch):
    store, messages = RunIndex(tmp_path), []
    if trouble == "held by another":
        make_run(tmp_path / "old")
        store.rebuild()
        held = sqlite3.connect(store.path, isolation_level=None)
        held.execute("BEGIN EXCLUSIVE")
    elif trouble == "a folder":
        store.path.mkdir()
    else:
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left")))
    (tmp_path / "new").mkdir()
    run, begun = RunFolder(tmp_path / "new"), time.monotonic()
    with recorded(run, RunConfig(), messages.append):
        run.end()
    assert time.monotonic() - begun < 20
    assert len(messages) == 1 and "warning" in messages[0] and "runs.sqlite" in messages[0]
    assert "new" in [record["name"] for record in store.runs()]
    if trouble == "held by another":
        held.close()
        assert "new" in {record["name"] for record in store.runs()} and "new" in index_rows(store)
