"""A local worker that sends nothing for too long is ended, and its cell fails."""

from unittest.mock import Mock

from reprogram.runs.config import RunConfig
from reprogram.sweep.cells import Cell
from reprogram.sweep.executors.local import Local
from reprogram.sweep.scheduler import run_cells
from reprogram.sweep.worker import WorkerMessage


def test_a_silent_worker_is_ended_and_its_cell_fails():
    pool = Local(1)
    pool.processes.append(Mock())
    pool.silence_s, pool.heard = 0.01, {0: 0.0}
    worker, message = pool.next_message()
    assert (worker, message.kind) == (0, "failed") and "no sign of life for 0.01 seconds" in message.text
    pool.processes[0].kill.assert_called_once()
    assert pool.heard == {}
    pool.processes.clear()
    pool.close()


def test_a_worker_that_is_heard_goes_on():
    pool = Local(1)
    pool.silence_s, pool.heard = 1000.0, {0: 0.0}
    pool.messages.put((0, WorkerMessage(kind="running")))
    assert pool.next_message()[1].kind == "running" and pool.heard[0] > 0
    pool.messages.put((0, WorkerMessage(kind="finished")))
    assert pool.next_message()[1].kind == "finished" and pool.heard == {}
    pool.close()


def test_others_that_talk_do_not_hide_it():
    pool = Local(1)
    pool.processes.append(Mock())
    pool.silence_s, pool.heard = 100.0, {0: -1e9, 1: 0.0}
    for _ in range(3):
        pool.messages.put((1, WorkerMessage(kind="running")))
    assert pool.next_message()[1].ended
    assert [pool.next_message()[0] for _ in range(3)] == [1, 1, 1]
    pool.processes.clear()
    pool.close()


def test_a_worker_that_was_ended_gets_no_other_cell(monkeypatch, tmp_path):
    pool, given = Mock(), []
    pool.start.side_effect = [0, 1]
    pool.submit.side_effect = lambda worker, config: given.append(worker)
    ready, finished = WorkerMessage(kind="ready"), WorkerMessage(kind="finished", accuracy=1.0)
    silent, lost = WorkerMessage(kind="failed", text="silent", ended=True), WorkerMessage(kind="lost", text="gone")
    pool.next_message.side_effect = [(0, ready), (0, silent), (1, ready), (0, lost), (1, finished)]
    monkeypatch.setattr("reprogram.sweep.scheduler.make_executor", lambda *_, **__: pool)
    cells = [Cell(name, RunConfig(out=str(tmp_path / name))) for name in "ab"]
    outcomes = run_cells(cells, retries=0)
    assert [(outcome.state, outcome.attempts) for outcome in outcomes] == [("failed", 1), ("finished", 1)]
    assert given == [0, 1]
