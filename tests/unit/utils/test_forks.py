"""Forks that compute with their process: what they exchange, and what remains when one of them is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from reprogram.errors import ConfigError, ProcessLostError
from reprogram.utils.forks import can_fork, forked

pytestmark = pytest.mark.skipif(not can_fork(), reason="forks can't compute gradients here")


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


@pytest.mark.parametrize("size", [2, 3, 5])
def test_forks_add_up_gather_and_spread(size):
    with forked(size) as group:
        summed = group.all_reduce(torch.arange(4.0, dtype=torch.float64) * (group.rank + 1))
        rows = group.all_gather(torch.full((2, 3), float(group.rank)), 2 * size)
        scalar = group.all_reduce(torch.tensor(group.rank))
        ranks = group.all_gather_object({"rank": group.rank, "thread": torch.get_num_threads()})
        said = group.on_main(lambda: ("main", group.rank))
    assert torch.equal(summed, torch.arange(4.0, dtype=torch.float64) * (size * (size + 1) // 2))
    assert torch.equal(rows, torch.arange(float(size)).repeat_interleave(2)[:, None].expand(-1, 3))
    assert int(scalar) == size * (size - 1) // 2
    assert ranks == [{"rank": rank, "thread": 1} for rank in range(size)] and said == ("main", 0)


def test_this_process_has_its_threads_again_and_no_fork_is_left():
    before = torch.get_num_threads()
    with forked(3) as group:
        pids = group.all_gather_object(os.getpid())
    assert torch.get_num_threads() == before and len(set(pids)) == 3 and pids[0] == os.getpid()
    assert all(gone(pid) for pid in pids[1:])


def test_an_error_of_the_main_process_is_every_ones():
    with pytest.raises(ConfigError, match="no such thing"), forked(2) as group:

        def refuse():
            raise ConfigError("no such thing")

        group.on_main(refuse)
        os._exit(17)  # Never reached, neither here nor in the fork.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fork_that_is_killed_is_missed(number):
    with pytest.raises(ProcessLostError), forked(3) as group:
        pids = group.all_gather_object(os.getpid())
        if group.is_main:
            os.kill(pids[2], number)
        while True:
            group.all_reduce(torch.ones(100_000))
    assert all(gone(pid) for pid in pids[1:])


def test_what_no_process_expects_is_told_by_the_fork(capfd):
    with pytest.raises(ProcessLostError), forked(2) as group:
        if not group.is_main:
            raise ZeroDivisionError("in the fork")
        group.all_reduce(torch.ones(3))
    assert "ZeroDivisionError: in the fork" in capfd.readouterr().err


def test_where_no_process_can_be_started_none_is_left(monkeypatch, one_line):
    fork, begun, threads = os.fork, [], torch.get_num_threads()

    def refuse():
        if begun:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        begun.append(fork())
        return begun[0]

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(ProcessLostError) as error, forked(3):
        raise AssertionError("the block must not run")
    one_line(error, "no further process", "threads")
    assert gone(begun[0]) and torch.get_num_threads() == threads


def test_forks_of_a_killed_process_end(tmp_path):
    code = f"""
import os, pathlib, torch
from reprogram.utils.forks import forked
with forked(3) as group:
    pids = group.all_gather_object(os.getpid())
    if group.is_main:
        pathlib.Path({str(tmp_path / "pids")!r}).write_text(" ".join(map(str, pids)))
    while True:
        group.all_reduce(torch.ones(1000))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 3:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.wait()
    forks = [int(pid) for pid in (tmp_path / "pids").read_text().split()[1:]]
    while not all(gone(pid) for pid in forks):
        assert time.monotonic() < end
        time.sleep(0.02)
