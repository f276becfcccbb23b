"""A local worker that sends nothing for too long is ended, and its cell fails."""

from unittest.mock import Mock

from reprogram.sweep.executors.local import Local
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
