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


class OddError(Exception):
    """An error that can't be read back from what pickle writes of it."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("the host refuses"), ConfigError),
        (ZeroDivisionError("in the fork"), ZeroDivisionError),
        (OSError(28, "No space left on device"), OSError),
        (OddError("this", "that"), RuntimeError),
    ],
)
def test_the_error_that_ends_a_fork_is_raised_by_the_main_process(error, expected, capfd):
    with pytest.raises(expected) as raised, forked(3) as group:
        if group.rank == 2:
            raise error
        while True:
            group.all_reduce(torch.ones(3))
    assert type(raised.value) is expected and str(error) in str(raised.value)
    note = "".join(getattr(raised.value, "__notes__", []))
    assert ("test_forks.py" in note) == (expected in (ZeroDivisionError, OSError)) and capfd.readouterr() == ("", "")


def test_processes_that_exchange_different_things_are_a_bug_and_no_numbers():
    for mine, others in ((3, 2), (2, 3)):
        with pytest.raises(AssertionError, match="different things"), forked(2) as group:
            group.all_reduce(torch.ones(mine if group.is_main else others))


def test_a_signal_of_one_process_stops_what_all_compute():
    with forked(3) as group:
        before = group.all_gather_object(group.should_stop([]))
        if group.rank == 1:
            group.should_stop([signal.SIGTERM])
        group.all_gather_object(None)
        after = group.all_gather_object(group.should_stop([]))
    assert before == [False] * 3 and after == [True] * 3
    with forked(2) as group:
        assert not group.should_stop([])


def test_a_signal_in_the_moment_of_the_fork_leaves_no_second_process_behind():
    code = """
import os, signal
from reprogram.utils import forks
fork = os.fork
def interrupted():
    pid = fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGINT)
    return pid
os.fork = interrupted
try:
    with forks.forked(3) as group:
        while True:
            group.all_gather_object(None)
except BaseException as error:
    print(type(error).__name__, flush=True)
print("on", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["ProcessLostError", "on"] and done.stderr == ""


def test_forks_end_where_the_system_removes_them_by_itself():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with forked(3) as group:
            ranks = group.all_gather_object(group.rank)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert ranks == [0, 1, 2]


class NoFlush:
    def write(self, text):
        return len(text)


def broken_pipe():
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w")
    stream.write("x")
    return stream


def closed_file():
    with Path(os.devnull).open("w") as stream:
        return stream


@pytest.mark.parametrize("make", [lambda: None, NoFlush, closed_file, broken_pipe])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # The broken pipe's own end.
def test_what_a_process_has_in_the_place_of_a_console_is_nothing_to_forks(make, monkeypatch):
    monkeypatch.setattr(sys, "stdout", make())
    with forked(2) as group:
        ranks = group.all_gather_object(group.rank)
    assert ranks == [0, 1]


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


@pytest.mark.parametrize("goes_on", ["group.all_reduce(torch.ones(1000))", "torch.ones(1000).sum()"])
def test_forks_of_a_killed_process_end(goes_on, tmp_path):
    code = f"""
import os, pathlib, torch
from reprogram.utils.forks import forked
with forked(3) as group:
    pids = group.all_gather_object(os.getpid())
    if group.is_main:
        pathlib.Path({str(tmp_path / "pids")!r}).write_text(" ".join(map(str, pids)))
    while True:
        {goes_on}
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
